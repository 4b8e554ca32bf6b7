// Shows on the pack's nodes what a run will do, in the server's own words, and after a run what it reported.
import { app } from "../../scripts/app.js";
import { after, afterSet, BYPASSED, everyNode, findNode, isLinked, widgetOf } from "./graph.js";
import { matchNames } from "./model_names.js";
import { sizeOf, pictureOf } from "./picture.js";
import { notedOf, reportsOf, running, watchRuns } from "./runs.js";
import { nodes, say, translated } from "./words.js";

const PANEL = "wan22_turbo_report";
const FONT = { size: 11, letter: 6.5, wide: 11, line: 16 }; // in pixels at 100 %
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6]/g; // CJK
const FRAME = 28; // pixels around the text: margins of ComfyUI's DOM widgets, and the field's own
const BUTTON = 30; // pixels
const MAX_LINES = 16; // a longer report scrolls
const GAP = 10; // pixels that stay free between a node that grows and the next one below
const PAUSE = 150; // ms after the last change, before the server is asked

const panels = new WeakMap(); // node -> its panel

class Panel {
  constructor(node) {
    this.node = node;
    this.asks = nodes[node.comfyClass]?.preview; // the route, the widgets in the question, the lines that are kept free
    this.live = { text: "" }; // the server's last answer
    this.report = null; // of the last run, as `reportsOf` holds it
    this.without = null; // what a run is without this node, while it is bypassed
    this.query = undefined; // the question that the widgets stand for now
    this.timer = 0;
    this.room = Infinity; // pixels that a report may take
    this.field = readOnlyField();
    this.button = triggerButton(() => this.fillTriggerWords());
    this.element = document.createElement("div");
    this.element.style.cssText = "display: flex; flex-direction: column; gap: 4px; min-height: 0; pointer-events: auto;";
    const space = document.createElement("div"); // of which the field takes whole lines
    space.style.cssText = "flex: 1; min-height: 0; position: relative;";
    space.append(this.field);
    this.element.append(space, this.button);
    this.widget = node.addDOMWidget(PANEL, PANEL, this.element, {
      serialize: false, // not in the prompt that is posted
      hideInPanel: true, // the element can be in one place only: on the node
      getValue: () => this.field.value,
      setValue: () => {},
      getMinHeight: () => this.height(),
      getMaxHeight: () => this.height(),
    });
    this.widget.label = say("words", "report");
    this.widget.serialize = false; // nor in the saved graph
    this.show();
  }

  height() {
    const width = Math.max(20 * FONT.letter, this.node.size[0] - 32);
    const wrapped = this.field.value
      .split("\n")
      .reduce((lines, line) => lines + Math.max(1, Math.ceil(widthOf(line) / width)), 0);
    const kept = (this.asks?.lines ?? 1) * FONT.line + FRAME;
    if (!this.valid()) return kept; // a node does not change its size while it is edited
    const button = this.button.style.display ? 0 : BUTTON;
    const wanted = Math.min(MAX_LINES, wrapped) * FONT.line + FRAME + button;
    return Math.max(kept, Math.min(wanted, this.room));
  }

  // The report, as long as the widgets stand for what was run.
  valid() {
    if (!this.report) return null;
    this.report.query ??= this.query;
    return this.report.query === this.query ? this.report : null;
  }

  show() {
    const report = this.valid();
    this.field.value = this.without ?? translated(report?.text ?? this.live.text);
    this.field.setAttribute("aria-label", say("words", report ? "after" : "before"));
    this.field.style.color = !report && this.live.refused ? "var(--error-text, #ff6b6b)" : "";
    const words = this.live[this.asks?.fills] ?? [];
    this.button.style.display = words.length ? "" : "none";
    this.button.textContent = say("words", "fill", { words: words.join(", ") });
    this.button.disabled = isLinked(this.node, this.asks?.fills);
    if (report) this.room = roomFor(this);
    this.element.style.minHeight = `${this.height() - FRAME + 8}px`; // Nodes 2.0 asks the element
    if (report) fit(this.node);
    this.node.setDirtyCanvas?.(true, true);
  }

  tellOfBypass(words) {
    if (words === this.without) return;
    this.without = words;
    this.show();
  }

  tell(report) {
    this.report = report;
    this.show();
  }

  // Reads what the widgets stand for now, and whether that is new.
  async look() {
    const now = this.asks ? await question(this.node, this.asks) : {};
    const changed = now.query !== this.query;
    this.query = now.query;
    return { ...now, changed };
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.refresh(), PAUSE);
  }

  async refresh() {
    if (!this.asks || !this.node.graph) return;
    const { query, unknown, changed } = await this.look();
    if (unknown) this.live = { text: unknown };
    if (unknown || changed) this.show();
    if (unknown) return;
    const answer = await ask(this.asks.route, query);
    if (query !== this.query) return; // the widgets have changed meanwhile
    this.live = answer;
    this.show();
  }

  fillTriggerWords() {
    const widget = widgetOf(this.node, this.asks.fills);
    widget.value = this.live[this.asks.fills].join(", ");
    widget.callback?.(widget.value, app.canvas, this.node);
    this.node.setDirtyCanvas?.(true, true);
    const undo = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
    (undo?.captureCanvasState ?? undo?.checkState)?.call(undo); // ComfyUI looked before the click did something
  }
}

function readOnlyField() {
  const field = document.createElement("textarea");
  field.readOnly = true;
  field.spellcheck = false;
  field.dataset.captureWheel = "true"; // Nodes 2.0: a long report scrolls
  // Borders above and below instead of padding: a line that scrolls would show in padding, cut.
  field.style.cssText = `position: absolute; top: 0; left: 0; width: 100%; height: 100%;
    height: calc(round(down, 100% - 8px, ${FONT.line}px) + 8px); resize: none; box-sizing: border-box; padding: 0 4px;
    border: solid transparent; border-width: 4px 0; border-radius: 4px; outline: 0;
    background: var(--comfy-input-bg); color: var(--input-text); font: ${FONT.size}px/${FONT.line}px monospace;
    letter-spacing: -0.2px;`; // a LoRA's facts, as "rank 64, made for wan22_14b, ...", fit into a line of its node
  field.addEventListener("wheel", (event) => {
    const scrolls = field.scrollHeight > field.clientHeight && !event.ctrlKey;
    if (scrolls) event.stopPropagation();
    else if (!LiteGraph.vueNodesMode) app.canvas.processMouseWheel(event);
  });
  return field;
}

function triggerButton(act) {
  const button = document.createElement("button");
  button.type = "button";
  button.style.cssText = `flex: none; height: ${BUTTON - 6}px; border: 1px solid var(--border-color); border-radius: 4px;
    background: var(--comfy-input-bg); color: var(--input-text); font-size: ${FONT.size}px; cursor: pointer;
    overflow: hidden; text-overflow: ellipsis; white-space: nowrap;`;
  button.addEventListener("click", act);
  return button;
}

function fit(node) {
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
}

// The pixels that a panel may take before its node grows over the next one below.
function roomFor(panel) {
  const { node } = panel;
  const [left, top] = node.pos;
  const right = left + node.size[0];
  const below = (node.graph?.nodes ?? [])
    .filter(({ pos, size }) => pos[1] > top && pos[0] < right && left < pos[0] + size[0])
    .map(({ pos }) => pos[1] - LiteGraph.NODE_TITLE_HEIGHT - GAP - top);
  return Math.max(node.size[1], Math.min(...below)) - heightBeside(panel);
}

// The pixels of a node that are not its panel's.
function heightBeside(panel) {
  const { node, element } = panel;
  const drawn = LiteGraph.vueNodesMode && element.closest(`[data-node-id="${node.id}"]`);
  if (!drawn) return node.computeSize()[1] - panel.height();
  return drawn.offsetHeight - LiteGraph.NODE_TITLE_HEIGHT - element.offsetHeight - FRAME + 8; // as in its minHeight
}

const isOurs = (node) => Boolean(node?.comfyClass?.startsWith("Wan22Turbo_"));
const everyPanel = () => everyNode().flatMap(([, node]) => panels.get(node) ?? []);
const askAgain = () => everyPanel().forEach((panel) => panel.later());
const widthOf = (line) => line.length * FONT.letter + (line.match(WIDE)?.length ?? 0) * (FONT.wide - FONT.letter);
const textOf = (output) => [output?.text ?? []].flat().join("\n");

// The question that a node's widgets stand for, and why it cannot be asked before the run, if that is so.
async function question(node, asks) {
  const values = asks.reads.map((name) => [name, String(widgetOf(node, name)?.value)]);
  const untold = (why) => ({ unknown: why, query: `${why} ${new URLSearchParams(values)}` });
  const linked = asks.reads.filter((name) => isLinked(node, name)).map((name) => widgetOf(node, name)?.label ?? name);
  if (linked.length) return untold(say("words", "linked", { inputs: linked.join(", ") }));
  if (!asks.picture) return { query: String(new URLSearchParams(values)) };
  const file = pictureOf(node, asks.picture);
  if (!file) return untold(say("words", "unseen"));
  const size = await sizeOf(file);
  if (!size) return untold(say("words", "absent", { file }));
  return { query: String(new URLSearchParams([...Object.entries(size), ...values])) };
}

async function ask(route, query) {
  try {
    const answer = await (await app.api.fetchApi(`/wan22_turbo/${route}?${query}`)).json();
    return answer.error ? { text: answer.error, refused: true } : answer;
  } catch {
    return { text: say("words", "silent"), refused: true };
  }
}

function panelOf(node) {
  if (!panels.has(node)) panels.set(node, new Panel(node));
  return panels.get(node);
}

// What the nodes of a prompt stand for: by their ids, answers to `question` that are still to come.
function standFor(prompt) {
  const asking = Object.keys(prompt).map((id) => [id, panels.get(findNode(id))]);
  return new Map(asking.flatMap(([id, panel]) => (panel?.asks ? [[id, question(panel.node, panel.asks)]] : [])));
}

async function showRun({ node, display_node, output, prompt_id }) {
  const [text, id, reports] = [textOf(output), String(display_node || node), reportsOf(prompt_id)];
  if (!text) return;
  const report = { text };
  if (!reportsOf().has(id)) reportsOf().set(id, null); // ComfyUI keeps the output with the graph that is open
  reports.set(id, report);
  report.query = (await notedOf(prompt_id)?.get(id))?.query;
  const here = reports === reportsOf() ? findNode(id) : null;
  if (!isOurs(here)) return;
  const panel = panelOf(here);
  if ((await panel.look()).changed) panel.later(); // code has set widgets without a word
  if (reportsOf().get(id) === report) panel.tell(report);
}

// A node that runs again has no report until it is done: none, if it fails. Nodes taken from the cache keep theirs.
function forget(id) {
  const reports = reportsOf(running);
  reports.set(id, null);
  const panel = reports === reportsOf() ? panels.get(findNode(id)) : null;
  if (panel?.report) panel.tell(null);
}

// Says what a run is without a node, as long as that is bypassed.
function tellOfBypass(node, mode = node.mode) {
  const words = say("bypassed", node.comfyClass);
  if (!words || !(mode === BYPASSED || panels.has(node))) return;
  panelOf(node).tellOfBypass(mode === BYPASSED ? words : null);
}

function attend(node) {
  afterSet(node, "mode", (mode) => tellOfBypass(node, mode));
  after(node, "onAdded", () => panels.get(node)?.later()); // again, when it moves into a subgraph
  const asks = nodes[node.comfyClass]?.preview;
  if (!asks) return;
  const panel = panelOf(node);
  const later = () => panel.later();
  fit(node);
  for (const name of asks.reads) after(widgetOf(node, name), "callback", later);
  for (const method of ["onConfigure", "onConnectionsChange"]) after(node, method, later);
}

// The key under which ComfyUI keeps a node's outputs; once it was the id in prompts.
const locatorOf = ({ id, graph }) => (graph && graph !== graph.rootGraph ? `${graph.id}:${id}` : String(id));

app.registerExtension({
  name: "wan22_turbo.live",
  setup() {
    watchRuns(standFor);
    app.api.addEventListener("executed", ({ detail }) => void showRun(detail));
    app.api.addEventListener("executing", ({ detail }) => detail != null && forget(String(detail)));
    app.api.addEventListener("reconnected", askAgain);
    app.api.addEventListener("promptQueued", () => everyNode().forEach(([, node]) => tellOfBypass(node)));
  },
  beforeConfigureGraph: matchNames,
  refreshComboInNodes: askAgain, // after R there may be other files
  nodeCreated(node) {
    if (isOurs(node)) attend(node);
    // Nodes 2.0 of 0.16.3 takes a clip for a picture, unless an input is a VIDEO and nothing else.
    if (isOurs(node) && widgetOf(node, "filename_prefix")) node.previewMediaType = "video";
    if (node.comfyClass !== "LoadImage") return;
    const file = widgetOf(node, "image"); // another pack may have made a Load Image of its own
    if (!file) return;
    const other = () => everyPanel().forEach((panel) => panel.asks?.picture && panel.later());
    after(file, "callback", other);
    afterSet(node, "mode", other);
  },
  // Another tab of the frontend, or a run chosen from the history: the reports of that one.
  onNodeOutputsUpdated(outputs) {
    const reports = reportsOf();
    for (const [id, node] of everyNode()) {
      if (!isOurs(node)) continue;
      const text = textOf(outputs[locatorOf(node)] ?? outputs[id]);
      if (text && !reports.has(id)) reports.set(id, { text }); // of the history
      if (reports.get(id)) panelOf(node).tell(reports.get(id));
    }
  },
});
