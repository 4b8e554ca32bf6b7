"""Names what is private in a file: keys, paths, people, positions, prompts if asked. Writes copies without it.

    python tools/share_check.py graph.json clip.mp4              names what is private, ends with 1 if there is any
    python tools/share_check.py --prompts clip.mp4               counts what was written as private too
    python tools/share_check.py --strip-to shared/ clip.mp4      writes copies without it; the files themselves stay

A copy is made anew of what ComfyUI and players need; what else a file holds is listed and stays behind.

Reads graphs and API prompts (.json), pictures of ComfyUI (.png), and videos (.mp4, .mov, .m4v). Any Python reads a
graph; pictures and videos need ComfyUI's, which has Pillow and PyAV. `make share-check` sets one up.
"""

import argparse
import io
import json
import os
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

TOOLS = Path(__file__).resolve().parent
sys.path += [str(TOOLS), str(TOOLS.parent)]  # last, so that they hide nothing; the portable ComfyUI adds neither

import clip_boxes  # noqa: E402
import png_chunks  # noqa: E402
from graph_fields import allowed  # noqa: E402
from private import HIDDEN, Finding, Tell, clean_text, is_fact  # noqa: E402
from private_graph import clean, is_json  # noqa: E402
from private_graph import findings as findings  # noqa: E402  # for those who have a graph, not a file

# The metadata of pictures and clips that a copy has: what ComfyUI, this pack, and A1111 make a graph or settings of,
# and a clip's numbers.
GRAPHS = ("workflow", "prompt")
NUMBERS = "clip_report"
KEPT = (*GRAPHS, NUMBERS, "recipe", "parameters")
POSITION = {2, 4, 20, 22}  # EXIF's tags for the latitude and longitude of the place, and of what is looked at


class ShareError(Exception):
    """A file cannot be checked, or no clean copy of it can be made. The text says why."""


class Content(NamedTuple):
    """What a file holds: `told` by name, of which a copy may have what is in `KEPT`; and what no copy has.

    `told` of a JSON file is its whole value, under the name "". `other` are texts by place, `runs` readable parts of
    bytes by place, `private` what is private whatever it says, and `left` the places of what no copy has.
    """

    told: dict[str, Any]
    other: Mapping[str, str] = MappingProxyType({})
    runs: Mapping[str, str] = MappingProxyType({})
    private: tuple[Finding, ...] = ()
    left: tuple[str, ...] = ()


def read(path: Path) -> dict[str, Any]:
    """Returns what a file tells, by name: a JSON file's whole content, else its text metadata.

    Raises:
        ShareError: The file cannot be read.
    """
    return read_all(path).told


def read_all(path: Path) -> Content:
    """Returns what a file holds.

    Raises:
        ShareError: The file cannot be read.
    """
    kind = path.suffix.lower()
    try:
        if kind == ".json":
            return read_json(path)
        if kind == ".png":
            return read_png(path)
        if kind in clip_boxes.VIDEOS:
            return read_clip(path)
    except (OSError, ValueError, SyntaxError, RecursionError, zlib.error) as error:
        raise ShareError(f"A file must be readable to be checked; {path.name} is not: {error}.") from error
    raise ShareError(f"The check reads .json, .png, {', '.join(clip_boxes.VIDEOS)}; {path.name} is none of these.")


def read_json(path: Path) -> Content:
    """Returns a JSON value; of entries with the same name the last counts, and the others are private."""
    twice: list[Finding] = []

    def entries(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            twice.append(Finding("data", "entries with the same name", f"{len(pairs) - len(made)} of them"))
        return made

    value = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=entries)
    return Content({"": value}, private=tuple(twice))


def read_png(path: Path) -> Content:
    """Returns what a picture holds beside its pixels."""
    content = path.read_bytes()
    texts: dict[str, tuple[int, str]] = {}
    other: dict[str, str] = {}
    for index, chunk in enumerate(chunk for chunk in png_chunks.chunks(content) if chunk.kind in png_chunks.TEXTS):
        name, text = png_chunks.text_of(chunk)
        if label := png_chunks.label_of(chunk).strip():
            other[f"text[{index}].label"] = label
        if name.startswith(png_chunks.PROFILE):
            other[f"text[{index}].{name}"] = png_chunks.profile_text(text)
            continue
        earlier, other_text = texts.get(name, (0, text))  # Pillow, and so ComfyUI, keeps the last one
        if other_text != text:
            other[f"text[{earlier}].{name}"] = other_text
        texts[name] = index, text
    left = left_of(content)  # first, since it bounds the pixels
    exif, private = read_exif(path)
    runs: dict[str, str] = {}
    for place, data in left:
        if place != "eXIf":
            private.append(Finding("data", place, f"{len(data)} bytes"))
            clip_boxes.add_runs(runs, place, data)
    told = {name: text for name, (_, text) in texts.items()}
    return Content(told, other | exif, runs, tuple(private), tuple(other) + (("EXIF",) if exif or private else ()))


def left_of(content: bytes) -> list[tuple[str, bytes]]:
    """Returns what a copy of a picture leaves behind beside its texts."""
    left: list[tuple[str, bytes]] = []
    png_chunks.rebuilt(content, {}, lambda place, data: left.append((place, data)))
    return left


def read_exif(path: Path) -> tuple[dict[str, str], list[Finding]]:
    """Returns the texts of a picture's EXIF by place, and whether it says where that was taken."""
    from PIL import Image
    from PIL.ExifTags import IFD, TAGS

    with Image.open(path) as picture:
        picture.load()  # EXIF may stand behind the pixels
        try:
            exif = picture.getexif()
            tags = {**exif, **exif.get_ifd(IFD.Exif)}
            position = POSITION & set(exif.get_ifd(IFD.GPSInfo))
        except (SyntaxError, ValueError) as error:  # as Pillow calls EXIF that is none
            return {}, [Finding("data", "EXIF", f"cannot be read: {error}")]
    texts = {
        f"EXIF.{TAGS.get(tag, tag)}": plain(value) for tag, value in tags.items() if isinstance(value, str | bytes)
    }
    return texts, [Finding("position", "EXIF.GPSInfo", HIDDEN)] if position else []


def plain(value: str | bytes) -> str:
    """Returns the letters of an EXIF value, whose bytes may begin with their encoding and be UTF-16."""
    if isinstance(value, str):
        return value
    for encoding in (b"UNICODE\0", b"ASCII\0\0\0"):
        value = value.removeprefix(encoding)
    return value.replace(b"\0", b"").decode("utf-8", "replace")


def read_clip(path: Path) -> Content:
    """Returns what a clip holds beside its pictures and sound."""
    clip = clip_boxes.read(path)
    unread = (Finding("data", place, f"{size} bytes") for place, size in clip.unread.items())
    chapters = ("chapters",) if any(place.startswith("chapters") for place in clip.texts) else ()
    return Content(dict(clip.metadata), clip.texts, clip.runs, tuple(unread), clip.left + chapters)


def write(path: Path, target: Path, told: dict[str, Any]) -> None:
    """Writes a copy of a file, made anew, that tells this and nothing else. It is there whole, or not at all.

    Raises:
        ShareError: No clean copy can be made of it.
    """
    if path.suffix.lower() == ".json" and not told:
        raise ShareError(
            f"A copy is made of what ComfyUI needs of a graph or an API prompt; {path.name} is neither. Leave it out."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(path.suffix.lower(), ".share-", target.parent)
    os.close(handle)
    made = Path(name)
    try:
        if path.suffix.lower() == ".json":
            made.write_text(json.dumps(told[""], indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        elif path.suffix.lower() == ".png":
            made.write_bytes(png_chunks.rebuilt(path.read_bytes(), told, lambda *_: None))
        else:
            clip_boxes.copy(path, made, told)
        made.chmod(0o644)  # a temporary file is its owner's alone
        made.replace(target)
    except (OSError, ValueError, zlib.error) as error:
        raise ShareError(f"No clean copy can be made of {path.name}: {error}.") from error
    finally:
        made.unlink(missing_ok=True)


def check_copies(files: Iterable[Path], folder: Path | None) -> None:
    """Makes sure that copies in one folder replace neither each other nor a file that is to be copied.

    Raises:
        ShareError: Two files would become one copy, or a copy would take a file's place.
    """
    if folder is None:
        return
    files = list(dict.fromkeys(path.resolve() for path in files))
    copies: dict[str, Path] = {}
    for path in files:
        if (folder / path.name).resolve() in files:
            raise ShareError(f"The copy of {path.name} would replace the file. Name another folder.")
        first = copies.setdefault(path.name.casefold(), path)  # Windows and macOS do not tell A.json from a.json
        if first != path:
            raise ShareError(f"The copies of {first} and {path} would be one file in {folder}. Name a folder for each.")


def is_own(name: str, value: Any) -> bool:
    """Says whether a person may have written what a file tells under a name: what is neither a graph nor a fact."""
    return isinstance(value, str) and not is_json(value) and not is_fact(name)


class Checked(NamedTuple):
    """What is private in a file, and the places of what else a copy leaves behind."""

    found: list[Finding]
    left: list[str]


def check(path: Path, prompts: bool, folder: Path | None) -> list[Finding]:
    """Returns what is private in a file, and writes a copy without it if a folder is given."""
    return check_all(path, prompts, folder).found


def check_all(path: Path, prompts: bool, folder: Path | None) -> Checked:
    """Checks a file; a copy, if a folder is given, is made anew of what ComfyUI and players need.

    Raises:
        ShareError: The file cannot be read, or no clean copy can be made of it.
    """
    check_copies([path], folder)
    try:
        return _checked(path, prompts, folder)
    except RecursionError as error:
        raise ShareError(
            f"A file's lists must not be nested hundreds deep to be checked; {path.name}'s are."
        ) from error


def _checked(path: Path, prompts: bool, folder: Path | None) -> Checked:
    content = read_all(path)
    found = list(content.private)

    def cleaned(name: str, value: Any, tell: Tell, prompts: bool = prompts) -> Any:
        key = name.rpartition(".")[2]
        return clean(value, prompts, tell, name, content.told, key, is_own(key, value))

    for name, text in content.other.items():
        cleaned(name, text, found.append)
    names = {name: clean_text(name, found.append, "a name", "id") for name in content.told}
    left = list(content.left)
    kept = {
        name: kept_of(name, names[name], cleaned(names[name], text, found.append), left)
        for name, text in content.told.items()
    }
    known = {(finding.kind, finding.shown) for finding in found}
    for name, text in content.runs.items():  # which may repeat the texts
        cleaned(name, text, lambda one: (one.kind, one.shown) in known or found.append(one), prompts=False)
    if folder is not None:
        write(path, folder / path.name, {name: text for name, text in kept.items() if text is not None})
    return Checked(found, left)


def kept_of(name: str, shown: str, value: Any, left: list[str]) -> Any:
    """Returns what a copy has of a cleaned value, or None, and adds the places of what it leaves behind.

    Args:
        name: That the file tells it under.
        shown: The name without what is private.
        value: Cleaned.
        left: Takes the places.
    """
    text = isinstance(value, str)
    if name not in KEPT and text:
        if not is_fact(name):
            left.append(shown)
        return None
    if name == NUMBERS:
        try:
            return clip_boxes.of_the_pack("media.clip_numbers").checked(value)
        except ValueError:
            left.append(shown)
            return None
    if name not in ("", *GRAPHS):
        return value
    places: list[str] = []
    try:
        kept = allowed(json.loads(value) if text else value, places.append, name)
    except ValueError:
        left.append(name or "all of it, for it is neither a graph nor an API prompt")
        return None
    left.extend(places)
    return json.dumps(kept, ensure_ascii=value.isascii()) if text else kept


def report(path: Path, checked: Checked) -> Iterator[str]:
    """Yields the lines that tell what was found in a file, and what else its copy leaves behind."""
    yield f"{path.name}: " + (f"{len(checked.found)} private" if checked.found else "nothing private")
    for finding in checked.found:
        yield f"  {printable(str(finding))}"
    for place in checked.left:
        yield f"  a copy leaves out {printable(place)}"


def printable(text: str) -> str:
    """Returns a text of a file without what a terminal would obey, such as an escape sequence."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


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
    try:
        check_copies(options.files, options.strip_to)
    except ShareError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for path in options.files:
        try:
            checked = check_all(path, options.prompts, options.strip_to)
        except ShareError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        private |= bool(checked.found)
        sys.stdout.write("\n".join(report(path, checked)) + "\n")
    return int(private and options.strip_to is None)


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):  # a Windows console's letters are few, file names have all
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main(sys.argv[1:]))
