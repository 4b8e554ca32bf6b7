// Keeps what is typed into a number: as many decimals as its node takes, not just those of the step that its arrows make.
import { app } from "../../scripts/app.js";

app.registerExtension({
  name: "wan22_turbo.numbers",
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("Wan22Turbo_")) return;
    if (app.extensionManager.setting.get("Comfy.FloatRoundingPrecision")) return; // somebody wants so many, everywhere
    for (const { options } of node.widgets ?? []) {
      const decimals = Math.round(-Math.log10(options?.round));
      if (decimals > options?.precision) options.precision = decimals;
    }
  },
});
