// Shows the options of a list in the frontend's language: it translates names and tooltips, but no options.
// Only what is shown changes; graphs and prompts keep the words that the node was made with.
import { app } from "../../scripts/app.js";

let locales = {};

function labelOf(node, widget, value) {
  const translated = locales[app.extensionManager.setting.get("Comfy.Locale")]?.nodeDefs?.[node.type];
  return translated?.inputs?.[widget.name]?.options?.[value] ?? value;
}

app.registerExtension({
  name: "wan22_turbo.option_labels",
  async init() {
    const response = await app.api.fetchApi("/i18n");
    if (response.ok) locales = await response.json();
  },
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("Wan22Turbo_")) return;
    const worded = locales.en?.nodeDefs?.[node.comfyClass]?.inputs ?? {};
    for (const widget of node.widgets ?? []) {
      // A list of files has no words of ours in it, and would lose the search field of its menu.
      if (!worded[widget.name]?.options) continue;
      widget.options.getOptionLabel = (value) => String(labelOf(node, widget, value) ?? "");
    }
  },
});
