// What the server tells of this pack: of its nodes what their schemas do not say, and its words in every language.
import { app } from "../../scripts/app.js";

export let nodes = {}; // node id -> what `nodes` in nodes/panel_routes.py answers
let locales = {}; // language -> ComfyUI's own tree of words, with those of this pack in it
const patterns = {}; // group of English texts -> [name, pattern], the longest first

const language = () => app.extensionManager.setting.get("Comfy.Locale");
const wordsIn = (locale) => locales[locale]?.wan22Turbo ?? {};

// A text of the panels in the frontend's language, with values in its places: {file}. Undefined where there is none.
export function say(group, name, values = {}) {
  const text = wordsIn(language())[group]?.[name] ?? wordsIn("en")[group]?.[name];
  return text?.replace(/\{(\w+)\}/g, (_, place) => values[place]);
}

// What the server says in English, in the frontend's language, as far as there are words for its lines.
export function translated(text) {
  if (language() === "en" || !locales[language()]?.wan22Turbo) return text;
  return text.replace(/\S.*/g, (line) => inWords("lines", line) ?? inParts("facts", line));
}

function inWords(group, said) {
  for (const [name, pattern] of patterns[group]) {
    const found = pattern.exec(said);
    if (!found) continue;
    const values = Object.entries(found.groups ?? {}).map(([place, value]) => [place, inPlace(place, value)]);
    return say(group, name, Object.fromEntries(values));
  }
  return null;
}

// A value stays as it is, unless its place has the name of a group: {sides}, {expert}, and {expert1} beside that.
function inPlace(place, value) {
  const group = place.replace(/\d$/, "");
  return patterns[group] ? (inWords(group, value) ?? inParts(group, value)) : value;
}

const inParts = (group, said) => said.split(", ").map((part) => inWords(group, part) ?? part).join(", ");

function patternOf(text) {
  const [escaped, place] = [text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), /\\\{(\w+)\\\}/g];
  return new RegExp(`^${escaped.replace(place, "(?<$1>.+?)")}$`);
}

app.registerExtension({
  name: "wan22_turbo.words",
  async init() {
    const asked = ["/wan22_turbo/nodes", "/i18n"].map(async (path) => (await app.api.fetchApi(path)).json());
    [nodes, locales] = await Promise.all(asked);
    for (const [group, texts] of Object.entries(wordsIn("en"))) {
      const longest = Object.entries(texts).sort(([, one], [, other]) => other.length - one.length);
      patterns[group] = longest.map(([name, text]) => [name, patternOf(text)]);
    }
  },
  // The frontend translates names and tooltips, but no options. Only what is shown changes; graphs and prompts keep the words
  // that the node was made with.
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("Wan22Turbo_")) return;
    const optionsIn = (locale, widget) => locales[locale]?.nodeDefs?.[node.comfyClass]?.inputs?.[widget.name]?.options;
    for (const widget of node.widgets ?? []) {
      // A list of files has no words of ours in it, and would lose the search field of its menu.
      if (!optionsIn("en", widget)) continue;
      widget.options.getOptionLabel = (value) => String(optionsIn(language(), widget)?.[value] ?? value ?? "");
    }
  },
});
