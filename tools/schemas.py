"""What is derived from the schemas of the nodes, written in one go by `make schemas`:

    tests/data/schemas.json    what saved graphs rely on; a change that would break one is refused, with the reason
    locales                    the words, see translations.py
    client/schemas             what may be set in the shipped prompts, as a ComfyUI with this pack describes it

A saved graph names inputs, keeps widget values by their place, and links by the place of an output. An API prompt
leaves out what did not exist when it was made.
"""

import asyncio
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import translations
from comfy_server import ComfyServer

ROOT = Path(__file__).resolve().parent.parent
SNAPSHOT = ROOT / "tests" / "data" / "schemas.json"
MODEL_FILE = re.compile(r"\.(safetensors|sft|gguf|ckpt|pt|pth|bin)$", re.IGNORECASE)

Schema = dict[str, Any]


def describe(nodes: dict[str, Any]) -> dict[str, Schema]:
    """Returns what graphs rely on of each node class, by node id."""
    return {node_id: describe_node(node.GET_SCHEMA()) for node_id, node in sorted(nodes.items())}


def describe_node(schema: Any) -> Schema:
    """Returns a node's inputs in the order in which the frontend has them, required ones first, and its outputs."""
    inputs = sorted(schema.inputs, key=lambda entry: bool(entry.optional))  # sorting keeps the order otherwise
    return {
        "inputs": {entry.id: describe_input(entry) for entry in inputs},
        "outputs": {entry.id: entry.get_io_type() for entry in schema.outputs},
    }


def describe_input(entry: Any) -> Schema:
    """Returns type, need, default, range and options of an input; model files are this machine's own, and left out."""
    widget = hasattr(entry, "default") and not getattr(entry, "force_input", None)
    found: Schema = {"type": entry.get_io_type(), "optional": bool(entry.optional), "widget": widget}
    for name in ("default", "min", "max"):
        if getattr(entry, name, None) is not None:
            found[name] = getattr(entry, name)
    if getattr(entry, "options", None) is not None:
        found["options"] = [option for option in entry.options if not MODEL_FILE.search(str(option))]
        if found.get("default") not in found["options"]:
            found.pop("default", None)
    return found


def breaks(old: dict[str, Schema], new: dict[str, Schema]) -> list[str]:
    """Returns in sentences which changes from old to new would break somebody's graph or prompt; none for additions."""
    reasons = [f"{node_id} is gone: graphs with it open red." for node_id in old if node_id not in new]
    for node_id in old:
        if node_id in new:
            changes = (*input_breaks(old[node_id], new[node_id]), *output_breaks(old[node_id], new[node_id]))
            reasons += [f"{node_id}: {reason}" for reason in changes]
    return reasons


def input_breaks(old: Schema, new: Schema) -> list[str]:
    """Returns what is wrong with a node's new inputs."""
    before, after = old["inputs"], new["inputs"]
    reasons = [f"input {name} is gone or has another name." for name in before if name not in after]
    for name in before:
        if name in after:
            reasons += [f"input {name} {reason}" for reason in changed_input(before[name], after[name])]
    reasons += [
        f"input {name} is new and required: prompts from before it leave it out. Make it optional, with a default."
        for name, entry in after.items()
        if name not in before and not entry["optional"]
    ]
    for kind, widget in (("widgets", True), ("sockets", False)):
        places = [name for name in before if before[name]["widget"] == widget and name in after]
        now = [name for name in after if after[name]["widget"] == widget]
        if now[: len(places)] != places:
            reasons.append(f"{kind} have changed places: {', '.join(places)} must come first, in this order.")
    return reasons


def changed_input(old: Schema, new: Schema) -> list[str]:
    """Returns what an input no longer takes."""
    reasons = []
    refused = set(old["type"].split(",")) - set(new["type"].split(","))
    if refused:
        reasons.append(f"no longer takes {', '.join(sorted(refused))}, but {new['type']}.")
    if old["optional"] and not new["optional"]:
        reasons.append("was optional and is required.")
    if "min" in new and new["min"] > old.get("min", float("-inf")):
        reasons.append(f"takes at least {new['min']}, before {old.get('min', 'anything')}.")
    if "max" in new and new["max"] < old.get("max", float("inf")):
        reasons.append(f"takes at most {new['max']}, before {old.get('max', 'anything')}.")
    lost = [option for option in old.get("options", ()) if option not in new.get("options", old.get("options", ()))]
    if lost:
        reasons.append(f"has lost the options {', '.join(map(str, lost))}.")
    if old["optional"] and new.get("default") != old.get("default"):
        reasons.append(
            f"has the default {new.get('default')}, before {old.get('default')}, which prompts that leave it out mean."
        )
    return reasons


def output_breaks(old: Schema, new: Schema) -> list[str]:
    """Returns what is wrong with a node's new outputs, which links name by their place."""
    before, after = list(old["outputs"].items()), list(new["outputs"].items())
    if after[: len(before)] == before:
        return []
    spelled = ", ".join(f"{name} {kind}" for name, kind in before)
    return [f"outputs must begin with {spelled}; they are {', '.join(f'{name} {kind}' for name, kind in after)}."]


def find_comfyui() -> None:
    """Puts ComfyUI on the path, set to run on the CPU."""
    sys.path.insert(0, os.environ["COMFYUI_DIR"])
    from comfy.cli_args import args
    from torch_compat import let_torchvision_import

    args.cpu = True
    let_torchvision_import()


def import_pack() -> dict[str, Any]:
    """Imports the pack as ComfyUI does, by its path, and returns its node classes by id, in the order of its list.

    Raises:
        ImportError: ComfyUI is not on the path, or the pack is broken.
    """
    spec = importlib.util.spec_from_file_location(
        "wan22_pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"The pack must be a Python package, and {ROOT} is none.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    extension = asyncio.run(module.comfy_entrypoint())
    return {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}


def write_client_schemas() -> None:
    """Has the client ask a ComfyUI that is started for it."""
    with tempfile.TemporaryDirectory() as base, ComfyServer(Path(base)) as server:
        command = [sys.executable, "client", "schema", "--write", "--server", server.address]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    """Writes all of it, unless a saved graph would break."""
    find_comfyui()
    nodes = import_pack()
    new = describe(nodes)
    reasons = breaks(json.loads(SNAPSHOT.read_text(encoding="utf-8")), new) if SNAPSHOT.is_file() else []
    if reasons:
        sys.stderr.write("\n".join(["Not written, because saved graphs would break:", *reasons]) + "\n")
        return 1
    SNAPSHOT.write_text(json.dumps(new, indent=1) + "\n", encoding="utf-8")
    told = translations.update(translations.english(nodes))
    write_client_schemas()
    sys.stdout.write("\n".join([*told, f"{len(new)} nodes written to tests/data, locales and client/schemas."]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
