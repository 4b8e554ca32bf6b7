// Finds the model files that a graph of another machine means, before ComfyUI looks for them. Does nothing by itself.
import { app } from "../../scripts/app.js";

const WAIT = 3000; // ms; a graph must open even where the server is busy
// The first widgets of each node, in their order, which is that of `widgets_values`.
const MODELS = {
  Wan22Turbo_Loader: ["high_noise", "low_noise", "text_encoder", "vae"],
  Wan22Turbo_Lora: ["lora_high", "lora_low"],
};

// Puts the one file that fits in place of each name that is not in its list, in the graph that is being opened.
export async function matchNames(graph) {
  const inside = graph.definitions?.subgraphs ?? [];
  const nodes = [graph, ...inside].flatMap(({ nodes }) => nodes ?? []);
  await Promise.all(nodes.flatMap((node) => (MODELS[node.type] ?? []).map((input, i) => match(node, input, i))));
}

async function match(node, input, index) {
  const name = node.widgets_values?.[index];
  if (typeof name !== "string" || !name || options(node.type, input).includes(name)) return;
  const query = new URLSearchParams({ input, name });
  try {
    const answer = await app.api.fetchApi(`/wan22_turbo/model?${query}`, { signal: AbortSignal.timeout(WAIT) });
    const { file } = await answer.json();
    if (file) node.widgets_values[index] = file;
  } catch (error) {
    console.warn(`wan22_turbo: '${name}' was not looked for, ${error.message}`); // the node looks for it again at the run
  }
}

function options(type, input) {
  const [kind, settings] = LiteGraph.registered_node_types[type]?.nodeData?.input?.required?.[input] ?? [];
  return (Array.isArray(kind) ? kind : settings?.options) ?? [];
}
