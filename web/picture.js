// Which picture a node will get, and its size, as far as that is known before a run. Does nothing by itself.
import { app } from "../../scripts/app.js";

const ANNOTATED = /^(?:(.*)\/)?([^/]+?)(?: \[(input|output|temp)\])?$/; // as ComfyUI names files: folder/name [output]
const ACTIVE = 0; // LiteGraph's mode of a node that is neither muted nor bypassed

// The file that Load Image at the other end of an input shows; null where something else comes first.
export function pictureOf(node, input) {
  let origin = node.getInputNode(node.findInputSlot(input));
  while (origin?.type === "Reroute") origin = origin.getInputNode(0);
  if (origin?.type !== "LoadImage" || origin.mode !== ACTIVE) return null;
  return origin.widgets?.find((widget) => widget.name === "image")?.value || null;
}

// Width and height of a file in pixels, turned as its EXIF data says; null where the browser cannot read it.
export function sizeOf(file) {
  const [, subfolder = "", filename, type = "input"] = ANNOTATED.exec(file ?? "") ?? [];
  if (!filename) return null;
  return new Promise((resolve) => {
    const picture = new Image();
    picture.onload = () => resolve({ width: picture.naturalWidth, height: picture.naturalHeight });
    picture.onerror = () => resolve(null);
    picture.src = app.api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);
  });
}
