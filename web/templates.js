// The order of the pack's graphs in the template browser. The server lists them as they lie on the disk, which is any order.
import { app } from "../../scripts/app.js";

const ORDER = [
  "wan22_turbo_i2v",
  "wan22_lightning_i2v",
  "wan22_lora_i2v",
  "wan22_first_last_frame_i2v",
  "wan22_long_clip_i2v",
  "wan22_turbodiffusion_i2v",
  "wan22_lightwan_i2v",
  "wan22_undistilled_i2v",
  "wan22_hosted_i2v",
  "wan22_hosted_lora_i2v",
  "wan22_local_and_hosted_i2v",
];
const FOLDER = decodeURIComponent(new URL(import.meta.url).pathname.split("/").at(-2)); // in custom_nodes

const placeOf = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);

app.registerExtension({
  name: "wan22_turbo.templates",
  init() {
    const getWorkflowTemplates = app.api.getWorkflowTemplates;
    app.api.getWorkflowTemplates = async function () {
      const found = await getWorkflowTemplates.call(this);
      found[FOLDER]?.sort((one, other) => placeOf(one) - placeOf(other));
      return found;
    };
  },
});
