"""JSON Schemas (draft 2020-12) of what may be set in the shipped prompts, and settings read back from them.

`schemas/` holds one per shipped prompt, which `make schemas` has the client write from a server's /object_info, so that
a program can check its values, and a person can list them, without a server.
"""

import json
from pathlib import Path
from typing import Any

from .errors import UsageError
from .settings import Setting

FOLDER = Path(__file__).resolve().parent / "schemas"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
PLACE = "x-comfyui"  # a keyword of ours, which validators pass over


def schema_of(name: str, settings: list[Setting]) -> dict[str, Any]:
    """Returns the schema of a prompt's inputs. Every one of them is optional: the prompt holds a default."""
    return {
        "$schema": DRAFT,
        "$id": f"urn:wan22-turbo:client:{name}",
        "title": f"Inputs of {name}",
        "type": "object",
        "properties": {setting.name: property_of(setting) for setting in settings},
        "additionalProperties": False,
    }


def property_of(setting: Setting) -> dict[str, Any]:
    """Returns the schema of one setting."""
    known = {
        "type": setting.kind,
        "description": setting.help,
        "minimum": setting.minimum,
        "maximum": setting.maximum,
        "enum": list(setting.options) if setting.options is not None else None,
    }
    place = {"node": setting.node_id, "input": setting.input, "title": setting.title, "files": setting.files}
    return {
        **{key: value for key, value in known.items() if value not in (None, "")},
        "default": setting.default,
        PLACE: {key: value for key, value in place.items() if value != ""},
    }


def settings_in(schema: dict[str, Any]) -> list[Setting]:
    """Reads settings back from a schema."""
    return [
        Setting(
            name=name,
            node_id=known[PLACE]["node"],
            input=known[PLACE]["input"],
            title=known[PLACE]["title"],
            kind=known.get("type", ""),
            default=known["default"],
            minimum=known.get("minimum"),
            maximum=known.get("maximum"),
            options=tuple(known["enum"]) if "enum" in known else None,
            files=known[PLACE].get("files", ""),
            help=known.get("description", ""),
        )
        for name, known in schema["properties"].items()
    ]


def path_of(name: str) -> Path:
    """Returns where the schema of a shipped prompt is."""
    return FOLDER / f"{name}.schema.json"


def load(name: str) -> dict[str, Any]:
    """Reads the schema of a shipped prompt.

    Raises:
        UsageError: There is none.
    """
    try:
        return json.loads(path_of(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"No schema of '{name}' is shipped. Ask a server instead: --server ADDRESS.") from error


def write(name: str, schema: dict[str, Any]) -> Path:
    """Writes the schema of a shipped prompt."""
    FOLDER.mkdir(exist_ok=True)
    path = path_of(name)
    path.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
