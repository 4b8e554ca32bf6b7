// Shows on a node what it reports, as plain text in a read-only field: ComfyUI shows a result's text on preview nodes only.
import { app } from "../../scripts/app.js";
import { ComfyWidgets } from "../../scripts/widgets.js";

const REPORT = "wan22_turbo_report";
const LETTER = { width: 6.7, height: 12 }; // of the field's font, in pixels at 100 %
const MAX_LINES = 22; // a longer report scrolls

function reportWidget(node) {
  const known = node.widgets?.find((widget) => widget.name === REPORT);
  if (known) return known;
  const { widget } = ComfyWidgets.STRING(node, REPORT, ["STRING", { multiline: true }], app);
  widget.label = "report";
  widget.serialize = false; // neither in the saved graph
  widget.options.serialize = false; // nor in the prompt that is posted
  const field = widget.inputEl ?? widget.element;
  if (field) {
    field.readOnly = true;
    field.setAttribute("aria-label", "report");
  }
  return widget;
}

function showReport(node, text) {
  const widget = reportWidget(node);
  const letters = Math.max(20, Math.floor((node.size[0] - 40) / LETTER.width));
  const wrapped = text.split("\n").reduce((lines, line) => lines + Math.max(1, Math.ceil(line.length / letters)), 0);
  const needed = (Math.min(MAX_LINES, wrapped) + 1) * LETTER.height + 8;
  widget.options.getMinHeight = () => needed;
  widget.value = text;
  grow(node, needed);
}

function grow(node, needed) {
  let [width, height] = node.computeSize();
  if (LiteGraph.vueNodesMode) {
    // Nodes 2.0 divides what is left among the text fields, whatever they ask for; a long report scrolls there.
    const fields = node.widgets.filter((widget) => widget.type === "customtext");
    height += fields.length * Math.min(needed, 160) - needed;
  }
  node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
  node.setDirtyCanvas?.(true, true);
}

app.registerExtension({
  name: "wan22_turbo.reports",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith("Wan22Turbo_") || !nodeData.output_name?.includes("report")) return;
    const onExecuted = nodeType.prototype.onExecuted;
    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      if (output?.text) showReport(this, [output.text].flat().join("\n"));
    };
  },
});
