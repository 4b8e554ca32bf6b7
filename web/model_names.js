// Finds the model files that a graph of another machine means, before ComfyUI looks for them. Does nothing by itself.
import { app } from "../../scripts/app.js";
import { nodes as known } from "./words.js";

const WAIT = 3000; // ms; a graph must open even where the server is busy
const INPUTS = -10; // LiteGraph's id of a subgraph's inputs, as links name it

// Puts the one file that fits in place of each name that is not in its list, in the graph that is being opened.
export async function matchNames(graph) {
  const inside = graph.definitions?.subgraphs ?? [];
  const subgraphs = new Map(inside.map((subgraph) => [subgraph.id, subgraph]));
  const nodes = [graph, ...inside].flatMap(({ nodes }) => nodes ?? []);
  await Promise.all(nodes.flatMap((node) => loaded(node, subgraphs).map((slot, i) => slot && match(node, slot, i))));
}

// What each of a node's `widgets_values` names: { type, input } of the node that loads it, null where it is no model.
function loaded(node, subgraphs) {
  const own = known[node.type]?.models;
  if (own) return own.map((input) => ({ type: node.type, input }));
  if (!subgraphs.has(node.type)) return [];
  return promoted(node).map(([id, name]) => widgetInside(subgraphs.get(node.type), String(id), name, subgraphs));
}

// The widgets of a subgraph's node: [id of the node inside, widget], with "-1" for one that is an input of the subgraph.
function promoted({ properties, inputs }) {
  const listed = properties?.proxyWidgets;
  if (Array.isArray(listed)) return listed;
  return (inputs ?? []).filter((input) => input.widget).map((input) => ["-1", input.widget.name]);
}

function widgetInside(subgraph, id, name, subgraphs) {
  const nodeOf = (wanted) => subgraph.nodes?.find((node) => String(node.id) === String(wanted));
  if (id !== "-1") return widgetOf(nodeOf(id), name, subgraphs);
  const slot = subgraph.inputs?.findIndex((input) => input.name === name);
  const link = subgraph.links?.find(({ origin_id, origin_slot }) => origin_id === INPUTS && origin_slot === slot);
  const target = nodeOf(link?.target_id);
  const input = target?.inputs?.[link.target_slot];
  return widgetOf(target, input?.widget?.name, subgraphs);
}

function widgetOf(node, name, subgraphs) {
  if (known[node?.type]?.models?.includes(name)) return { type: node.type, input: name };
  return subgraphs.has(node?.type) ? widgetInside(subgraphs.get(node.type), "-1", name, subgraphs) : null;
}

async function match(node, { type, input }, index) {
  const name = node.widgets_values?.[index];
  if (typeof name !== "string" || !name || options(type, input).includes(name)) return;
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
