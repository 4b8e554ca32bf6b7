"""Names what is private in a file: keys, paths, people, positions, prompts if asked. Writes copies without it.

    python tools/share_check.py graph.json clip.mp4              names what is private, ends with 1 if there is any
    python tools/share_check.py --prompts clip.mp4               counts what was written as private too
    python tools/share_check.py --strip-to shared/ clip.mp4      writes copies without it; the files themselves stay

A copy is made anew of what ComfyUI and players need; what else a file holds is listed and stays behind.

Reads graphs and API prompts (.json), pictures of ComfyUI (.png), and videos (.mp4, .mov, .m4v). Any Python reads a
graph; pictures and videos need ComfyUI's, which has Pillow and PyAV. `make share-check` sets one up.
"""

import argparse
import filecmp
import importlib
import io
import json
import os
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

TOOLS = Path(__file__).resolve().parent
sys.path += [str(TOOLS), str(TOOLS.parent)]  # last, so that they hide nothing; the portable ComfyUI adds neither

import clip_boxes  # noqa: E402
import png_chunks  # noqa: E402
from graph_fields import allowed  # noqa: E402
from private import Finding, Tell, clean_text, is_fact  # noqa: E402
from private_graph import clean, is_json  # noqa: E402
from private_graph import findings as findings  # noqa: E402  # for those who have a graph, not a file
from share_read import ShareError, read_all  # noqa: E402

# The metadata of pictures and clips that a copy has: what ComfyUI, this pack, and A1111 make a graph or settings of,
# and a clip's numbers.
GRAPHS = ("workflow", "prompt")
NUMBERS = "clip_report"
KEPT = (*GRAPHS, NUMBERS, "recipe", "parameters")


def write(path: Path, target: Path, told: dict[str, Any]) -> None:
    """Writes a copy of a file, made anew, that tells this and nothing else. It is there whole, or not at all.

    Raises:
        ShareError: No clean copy can be made of it.
    """
    if path.suffix.lower() == ".json" and not told:
        raise ShareError(
            f"A copy is made of what ComfyUI needs of a graph or an API prompt; {path.name} is neither. Leave it out."
        )
    made: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(path.suffix.lower(), ".share-", target.parent)
        os.close(handle)
        made = Path(name)
        if path.suffix.lower() == ".json":
            made.write_text(json.dumps(told[""], indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        elif path.suffix.lower() == ".png":
            made.write_bytes(png_chunks.rebuilt(path.read_bytes(), told, lambda *_: None))
        else:
            clip_boxes.copy(path, made, told)
        made.chmod(0o644)  # a temporary file is its owner's alone
        publish(made, target)
    except (OSError, ValueError, zlib.error) as error:
        raise ShareError(f"No clean copy can be made of {path.name}: {error}.") from error
    finally:
        if made is not None:
            made.unlink(missing_ok=True)


def publish(made: Path, target: Path) -> None:
    """Gives a finished copy its name.

    Raises:
        ShareError: Another file has it.
    """
    if target.exists() and not filecmp.cmp(target, made, shallow=False):
        raise ShareError(
            f"There is another {target.name} in {target.parent.name}, which is not replaced. Remove it, or name "
            "another folder."
        )
    made.replace(target)


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
    """Returns whether a person may have written what a file tells under a name: what is neither a graph nor a fact."""
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
            return importlib.import_module("pack.media.clip_numbers").checked(value)
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
    """Checks files: 0 if nothing private is left, 1 if there is, 2 if a file cannot be checked. The others are."""
    parser = argparse.ArgumentParser(
        prog="share_check", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="+", help=".json, .png or .mp4")
    parser.add_argument("--prompts", action="store_true", help="what was written counts as private too")
    parser.add_argument("--strip-to", type=Path, metavar="FOLDER", help="write copies without what is private")
    options = parser.parse_args(arguments)
    private = failed = False
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
            failed = True
            continue
        private |= bool(checked.found)
        sys.stdout.write("\n".join(report(path, checked)) + "\n")
    return 2 if failed else int(private and options.strip_to is None)


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):  # a Windows console's letters are few, file names have all
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main(sys.argv[1:]))
