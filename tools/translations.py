"""The words that people see: English as the schemas and the panels say it, and what every other language lacks of it.

`make schemas` writes `locales`. English is derived. In another language a text that English does not have any more
goes, and one that is new or says something else in English is English until somebody translates it: so what is shown
is right, and what is equal to the English is what is still to be translated. See docs/decisions/0029.
"""

import json
from pathlib import Path
from typing import Any

from panel_words import PANELS

LOCALES = Path(__file__).resolve().parent.parent / "locales"

# Lists of files and of offers: what is in them are names.
NAMES = {"high_noise", "low_noise", "text_encoder", "vae", "lora_high", "lora_low", "model"}

# Texts that may stay English: names of settings and formats that the field uses in every language ...
KEPT = {
    "cfg", "clip", "crf", "fps", "vae",
    "rcm", "lightning", "shifted", "ode", "sde", "h264", "h265", "av1", "cpu", "nvenc",
    "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2", "sol_attn", "flex", "gather",
    "1080p", "720p", "480p", "240p", "16:9", "9:16", "1:1", "4:3", "3:4",
}  # fmt: skip
KEPT_IN = {  # ... and words that a language shares with English
    "es": {"audio", "plan", "prompt", "sigmas", "video"},
    "fr": {"audio", "codec", "expert", "image", "latent", "mode", "plan", "sigmas", "workflow"},
    "pt-BR": {"codec", "prompt", "sigmas"},
}

Tree = dict[str, Any]  # of texts


def english(nodes: dict[str, Any]) -> dict[str, Tree]:
    """Returns the English of each file, whose names are ComfyUI's. Takes node classes by id."""
    words = {node_id: wording(node.define_schema()) for node_id, node in nodes.items()}
    return {"nodeDefs.json": words, "main.json": {"wan22Turbo": PANELS}}


def wording(schema: Any) -> Tree:
    """Returns the texts of a schema as ComfyUI's own locale files hold them, and the options beside them."""
    inputs: Tree = {}
    for entry in schema.inputs:
        inputs[entry.id] = named(entry.id, entry)
        options = [each for each in getattr(entry, "options", None) or [] if isinstance(each, str)]
        if options and entry.id not in NAMES:
            inputs[entry.id]["options"] = {option: option for option in options}
        if getattr(entry, "control_after_generate", None):
            inputs["control_after_generate"] = {"name": "control after generate"}
    outputs = {str(place): named(entry.display_name, entry) for place, entry in enumerate(schema.outputs)}
    return {
        "display_name": schema.display_name, "description": schema.description, "inputs": inputs, "outputs": outputs,
    }  # fmt: skip


def named(name: str, entry: Any) -> Tree:
    """Returns the name of an input or output, and its tooltip if it has one."""
    return {"name": name, "tooltip": entry.tooltip} if entry.tooltip else {"name": name}


def seeded(english: Any, before: Any, translation: Any) -> Any:
    """Returns a translation with every text of the English and no other.

    Args:
        english: A text, or a tree of them.
        before: What it was when the translation was made; None where it was not there.
        translation: What there is of it in another language.
    """
    if isinstance(english, str):
        return translation if before in (english, None) and isinstance(translation, str) else english
    before, translation = (each if isinstance(each, dict) else {} for each in (before, translation))
    return {key: seeded(value, before.get(key), translation.get(key)) for key, value in english.items()}


def languages() -> list[str]:
    """Returns the languages of `locales`, English first."""
    return sorted((path.name for path in LOCALES.iterdir()), key=lambda name: (name != "en", name))


def read(language: str, file: str) -> Tree:
    """Reads one of a language's files; an empty tree where there is none yet."""
    path = LOCALES / language / file
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write(language: str, file: str, tree: Tree) -> None:
    """Writes one of a language's files."""
    text = json.dumps(tree, ensure_ascii=False, indent=2, sort_keys=True)
    (LOCALES / language / file).write_text(text + "\n", encoding="utf-8")


def texts(tree: Any, place: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """Returns all texts of a tree by their place in it."""
    if isinstance(tree, str):
        return {place: tree}
    return {at: text for key, value in tree.items() for at, text in texts(value, (*place, key)).items()}


def untranslated(language: str, file: str) -> dict[tuple[str, ...], str]:
    """Returns the texts that a language still has in English, by their place."""
    same = texts(read(language, file)).items() & texts(read("en", file)).items()
    return {place: text for place, text in sorted(same) if text not in KEPT | KEPT_IN.get(language, set())}


def update(english: dict[str, Tree]) -> list[str]:
    """Writes the English of each file, and seeds the other languages with it.

    Returns:
        In lines, which translations went because the English says something else now, and what is to be translated.
    """
    told = []
    for file, now in english.items():
        before = read("en", file)
        for language in languages()[1:]:
            old = read(language, file)
            new = seeded(now, before, old)
            write(language, file, new)
            gone = texts(old).items() - texts(new).items() - texts(before).items()
            told += [f"{language}: {' '.join(place)} was '{text}'." for place, text in sorted(gone)]
        write("en", file, now)  # last: as long as it is what it was, another run does what this one could not
        for language in languages()[1:]:
            left = untranslated(language, file).items()
            told += [f"{language}: {' '.join(place)} is to be translated: '{text}'" for place, text in left]
    return told
