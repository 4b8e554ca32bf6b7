"""Says what a file tells about its maker: private paths, keys, and prompts if asked. Writes copies without them.

    make share-check ARGS="graph.json clip.mp4"              names what is private, ends with 1 if there is any
    make share-check ARGS="--prompts clip.mp4"               counts what was written as private too
    make share-check ARGS="--strip-to shared/ clip.mp4"      writes copies without it; the files themselves stay

Reads graphs and API prompts (.json), pictures of ComfyUI (.png), and videos (.mp4, .mov, .m4v).
"""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).resolve().parent.parent))  # last, so that it hides nothing

HIDDEN = "***"
VIDEOS = (".mp4", ".mov", ".m4v")
TEXTS = ("prompt", "text", "negative_prompt", "trigger_words", "string", "value")  # inputs that people write into
NOTES = ("MarkdownNote", "Note")  # written to be read by others
KEYS = re.compile(
    r"\b(?:sk-|hf_|ghp_|AKIA|wsk_)[\w-]{8,}|bearer\s+[\w.~+/=-]{8,}"
    r"|(?<=[?&#])[\w-]*(?:token|key|signature|sig|credential|secret|password|auth)=(?!\*\*\*)[^&#\s\"'<>]+"
    r"|(?<=://)[^\s\"'<>/?#@*]+@",
    re.IGNORECASE,
)
KEY_NAMES = re.compile(r"(^|[_-])(api[_-]?key|token|secret|password|authorization)([_-]|$)", re.IGNORECASE)
ROOTS = r"(?:[A-Za-z]:[\\/]|\\\\[\w.-]+\\|file://|~/|/(?:home|Users|root|mnt|media|workspace|tmp|var|opt|data)/)"
PATHS = re.compile(rf"(?<![\w:/.]){ROOTS}[^\s\"'<>|*?]*")
WHOLE_PATH = re.compile(rf"{ROOTS}[^\n\"'<>|*?]*")


class Finding(NamedTuple):
    """Something private: what kind, where in the file, and its text cut short, a key as good as not at all."""

    kind: str
    place: str
    shown: str

    def __str__(self) -> str:
        return f"{self.kind} at {self.place}: {self.shown}"


class ShareError(Exception):
    """A file cannot be checked. The text says why."""


def findings(value: Any, prompts: bool = False) -> list[Finding]:
    """Returns what is private in a JSON value."""
    found: list[Finding] = []
    clean(value, prompts, found.append)
    return found


def clean(value: Any, prompts: bool, tell: Callable[[Finding], object], place: str = "", key: str = "") -> Any:
    """Returns a JSON value without what is private, and tells of each such thing.

    Args:
        value: A graph, an API prompt, or a part of one.
        prompts: Whether what people wrote counts as private.
        tell: Takes each finding.
        place: Where in the file the value stands, for the findings.
        key: The name that the value stands under.
    """
    if isinstance(value, dict):
        written = prompt_places(value) if prompts else set()
        return {
            name: hide_prompt(part, f"{place}.{name}", tell)
            if name in written
            else clean(part, prompts, tell, f"{place}.{name}", name)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [clean(part, prompts, tell, f"{place}[{index}]", key) for index, part in enumerate(value)]
    if not isinstance(value, str):
        return value
    if value.lstrip()[:1] in ("{", "["):  # JSON within JSON, as in some packs' widgets
        return clean_nested(value, prompts, tell, place)
    if KEY_NAMES.search(key) and value and value != HIDDEN:
        tell(Finding("key", place.lstrip("."), HIDDEN))
        return HIDDEN
    return clean_text(value, tell, place)


def clean_nested(text: str, prompts: bool, tell: Callable[[Finding], object], place: str) -> str:
    """Cleans JSON that stands in a string; what only begins like JSON is text."""
    try:
        inner = json.loads(text)
    except ValueError:
        return clean_text(text, tell, place)
    cleaned = clean(inner, prompts, tell, place)
    return text if cleaned == inner else json.dumps(cleaned, ensure_ascii=False)


def clean_text(text: str, tell: Callable[[Finding], object], place: str) -> str:
    """Hides keys in a text, and of private paths leaves the file's name."""

    def hide_key(found: re.Match[str]) -> str:
        tell(Finding("key", place.lstrip("."), found[0][:4] + HIDDEN))
        name, equals, _ = found[0].partition("=")
        return name + equals + HIDDEN if equals else HIDDEN + ("@" if found[0].endswith("@") else "")

    def hide_path(found: re.Match[str]) -> str:
        tell(Finding("path", place.lstrip("."), found[0]))
        return re.split(r"[\\/]", found[0].rstrip("\\/"))[-1]

    text = KEYS.sub(hide_key, text)
    whole = WHOLE_PATH.fullmatch(text)  # folders may have spaces, and a path alone in its widget ends where that ends
    return hide_path(whole) if whole else PATHS.sub(hide_path, text)


def prompt_places(node: dict[str, Any]) -> set[str]:
    """Names the entries of a node, in a graph or an API prompt, under which people's own words stand."""
    if isinstance(node.get("class_type"), str):
        return {"inputs"}
    if isinstance(node.get("type"), str) and node["type"] not in NOTES:
        return {"widgets_values"}
    return set()


def hide_prompt(part: Any, place: str, tell: Callable[[Finding], object]) -> Any:
    """Empties what people wrote in the inputs or widgets of one node, and cleans the rest."""
    if isinstance(part, dict):
        return {name: emptied(value, name, f"{place}.{name}", tell) for name, value in part.items()}
    if isinstance(part, list):
        return [emptied(value, "", f"{place}[{index}]", tell) for index, value in enumerate(part)]
    return clean(part, True, tell, place)


def emptied(value: Any, name: str, place: str, tell: Callable[[Finding], object]) -> Any:
    """Returns an empty string for a text that somebody wrote: known by its name, or by being several words."""
    if not isinstance(value, str) or not (name in TEXTS or (not name and len(value.split()) > 2)) or not value:
        return clean(value, True, tell, place, name)
    tell(Finding("prompt", place.lstrip("."), value[:40] + ("..." if len(value) > 40 else "")))
    return ""


def read(path: Path) -> dict[str, Any]:
    """Returns what a file tells, by name: a JSON file's whole content, else its text metadata.

    Raises:
        ShareError: The file cannot be read.
    """
    try:
        if path.suffix.lower() == ".json":
            return {"": json.loads(path.read_text(encoding="utf-8"))}
        if path.suffix.lower() == ".png":
            from PIL import Image

            with Image.open(path) as picture:
                picture.load()  # text may stand behind the pixels
                return {str(name): text for name, text in picture.info.items() if isinstance(text, str)}
        if path.suffix.lower() in VIDEOS:
            import av

            with av.open(str(path)) as container:
                return dict(container.metadata)
    except (OSError, ValueError) as error:
        raise ShareError(f"A file must be readable to be checked; {path.name} is not: {error}.") from error
    raise ShareError(f"The check reads .json, .png, {', '.join(VIDEOS)}; {path.name} is none of these.")


def write(path: Path, target: Path, told: dict[str, Any]) -> None:
    """Writes a copy of a file that tells something else; pictures and sound stay as they are."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".json":
        target.write_text(json.dumps(told[""], indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    elif path.suffix.lower() == ".png":
        write_png(path, target, told)
    else:
        write_video(path, target, told)


def write_png(path: Path, target: Path, told: dict[str, str]) -> None:
    """Writes the same pixels with other text."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for name, text in told.items():
        info.add_text(name, text)
    with Image.open(path) as picture:
        picture.save(target, pnginfo=info, save_all=getattr(picture, "is_animated", False))


def write_video(path: Path, target: Path, told: dict[str, str]) -> None:
    """Copies the streams without encoding them again."""
    import av

    from media.mp4 import muxer_options
    from media.remux import add_copy
    from media.resolution import FPS

    with av.open(str(path)) as source:
        rate = next((stream.average_rate for stream in source.streams.video), None)
        with av.open(str(target), "w", options=muxer_options(Fraction(rate or FPS))) as copy:
            copy.metadata.update({name: text for name, text in told.items() if name not in ("major_brand", "encoder")})
            streams = {stream.index: add_copy(copy, stream) for stream in source.streams}
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    copy.mux(packet)


def check(path: Path, prompts: bool, folder: Path | None) -> list[Finding]:
    """Returns what is private in a file, and writes a copy without it if a folder is given."""
    told, found = read(path), []
    cleaned = {name: clean(value, prompts, found.append, name) for name, value in told.items()}
    if folder is not None:
        target = folder / path.name
        if target.resolve() == path.resolve():
            raise ShareError(f"The copy of {path.name} would replace the file. Name another folder.")
        if cleaned == told:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        else:
            write(path, target, cleaned)
    return found


def report(path: Path, found: list[Finding]) -> Iterator[str]:
    """Says what was found in a file."""
    yield f"{path.name}: " + (f"{len(found)} private" if found else "nothing private")
    for finding in found:
        yield f"  {finding}"


def main(arguments: list[str]) -> int:
    """Checks files: 0 if nothing private is left, 1 if there is, 2 if a file cannot be checked."""
    parser = argparse.ArgumentParser(
        prog="share_check", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="+", help=".json, .png or .mp4")
    parser.add_argument("--prompts", action="store_true", help="what was written counts as private too")
    parser.add_argument("--strip-to", type=Path, metavar="FOLDER", help="write copies without what is private")
    options = parser.parse_args(arguments)
    private = False
    for path in options.files:
        try:
            found = check(path, options.prompts, options.strip_to)
        except ShareError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        private |= bool(found)
        sys.stdout.write("\n".join(report(path, found)) + "\n")
    return int(private and options.strip_to is None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
