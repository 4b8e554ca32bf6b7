// What is posted where the frontend alone would post the wrong thing: bypassed nodes, and tokens in the names of clips.
import { app } from "../../scripts/app.js";
import { after, BYPASSED, findNode, redefine } from "./graph.js";
import { nodes, say } from "./words.js";

const ACTIVE = 0; // LiteGraph's mode of a node that runs
const modes = new WeakMap(); // node -> a function that tells its mode
let making = 0; // prompts that are being made

// While a prompt is made, a bypassed node looks like one that runs: so it gets into the prompt with what it got and holds,
// through every reroute and subgraph that the frontend knows. `passOn` takes it out again.
function watchMode(node) {
  const mode = redefine(node, "mode", (read) => (making && read() === BYPASSED ? ACTIVE : read()));
  modes.set(node, mode);
  after(node, "onSerialize", (saved) => (saved.mode = mode())); // in the graph that goes with the prompt, as it is
}

// Takes bypassed nodes out of a prompt, and puts what goes on in place of each link to one.
function passOn(prompt, graph) {
  const bypassed = {};
  for (const [id, node] of Object.entries(prompt)) {
    if (!nodes[node.class_type]?.bypassed || modes.get(findNode(id, graph))?.() !== BYPASSED) continue;
    bypassed[id] = node;
    delete prompt[id];
  }
  for (const { inputs } of Object.values(prompt)) {
    for (const name of Object.keys(inputs)) {
      inputs[name] = behind(inputs[name], bypassed);
      if (inputs[name] === undefined) delete inputs[name];
    }
  }
}

// What a value is when the bypassed nodes that it comes through are not there.
function behind(value, bypassed) {
  const node = Array.isArray(value) ? bypassed[value[0]] : null;
  if (!node) return value;
  const { input, text, report } = nodes[node.class_type].bypassed[value[1]];
  if (input) return behind(node.inputs[input], bypassed);
  return report ? say("bypassed", node.class_type) : text;
}

// Puts dates and widgets of other nodes into the names of clips, as the frontend does for core's own nodes that save.
function nameClips(prompt) {
  const replace = window.comfyAPI?.utils?.applyTextReplacements;
  for (const { class_type, inputs } of Object.values(prompt)) {
    // A node of a pack that is missing here has no class_type.
    if (!replace || !class_type?.startsWith("Wan22Turbo_") || typeof inputs.filename_prefix !== "string") continue;
    inputs.filename_prefix = replace(app, inputs.filename_prefix);
  }
}

app.registerExtension({
  name: "wan22_turbo.posting",
  init() {
    const graphToPrompt = app.graphToPrompt;
    app.graphToPrompt = async function (graph, ...parameters) {
      making += 1;
      let made;
      try {
        made = await graphToPrompt.call(this, graph, ...parameters);
      } finally {
        making -= 1;
      }
      passOn(made.output, graph);
      nameClips(made.output);
      return made;
    };
  },
  nodeCreated(node) {
    if (nodes[node.comfyClass]?.bypassed) watchMode(node);
  },
});
