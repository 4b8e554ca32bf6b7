// What the other files ask of nodes and graphs, in every supported frontend. Does nothing by itself.
import { app } from "../../scripts/app.js";

export const BYPASSED = 4; // LiteGraph's mode of a node that is left out, so that what it gets goes on

// Calls `act` after a method of `object`, as which other extensions may have put their own there.
export function after(object, method, act) {
  const before = object[method];
  object[method] = function (...parameters) {
    const result = before?.apply(this, parameters);
    act(...parameters);
    return result;
  };
}

// Lets `read` say what a property of `object` is, and calls `act` with a value that is set and was not before; returns what
// tells it as it was kept.
export function redefine(object, name, read, act = () => {}) {
  let last = object[name]; // as it was set, whatever others make of it
  const { get = () => last, set = () => {} } = accessorOf(object, name);
  const kept = () => get.call(object);
  const write = (value) => {
    const changed = value !== last;
    last = value;
    set.call(object, value);
    if (changed) act(value);
  };
  Object.defineProperty(object, name, { configurable: true, enumerable: true, get: () => read(kept), set: write });
  return kept;
}

function accessorOf(object, name) {
  const own = object && Object.getOwnPropertyDescriptor(object, name);
  return object ? (own ?? accessorOf(Object.getPrototypeOf(object), name)) : {};
}

// Calls `act` with the new value after a property was changed, as which other extensions may have put their own there.
export const afterSet = (object, name, act) => redefine(object, name, (kept) => kept(), act);

// All nodes of a graph, also those in its subgraphs, each after its id in prompts and messages.
export function everyNode(graph = app.rootGraph ?? app.graph, path = "") {
  const inside = ({ id, subgraph }) => (subgraph ? everyNode(subgraph, `${path}${id}:`) : []);
  return graph.nodes.flatMap((node) => [[`${path}${node.id}`, node], ...inside(node)]);
}

// A node by such an id, which names the subgraphs that it is in: "7", or "3:7".
export function findNode(id, graph = app.rootGraph ?? app.graph) {
  let node = null;
  for (const part of String(id).split(":")) {
    node = graph?.getNodeById(part) ?? null;
    graph = node?.subgraph;
  }
  return node;
}

export const widgetOf = (node, name) => node.widgets?.find((widget) => widget.name === name);

// Says whether a widget's value comes from another node.
export function isLinked(node, name) {
  const slot = node.inputs?.findIndex((input) => input.widget?.name === name) ?? -1;
  return slot >= 0 && node.isInputConnected(slot);
}
