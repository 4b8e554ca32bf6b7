"""Says what a file tells about its maker: private paths, keys, places, prompts if asked. Writes copies without them.

    python tools/share_check.py graph.json clip.mp4              names what is private, ends with 1 if there is any
    python tools/share_check.py --prompts clip.mp4               counts what was written as private too
    python tools/share_check.py --strip-to shared/ clip.mp4      writes copies without it; the files themselves stay

Reads graphs and API prompts (.json), pictures of ComfyUI (.png), and videos (.mp4, .mov, .m4v). Any Python reads a
graph; pictures and videos need ComfyUI's, which has Pillow and PyAV. `make share-check` sets one up.
"""

import argparse
import io
import json
import shutil
import sys
import zlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

TOOLS = Path(__file__).resolve().parent
sys.path += [str(TOOLS), str(TOOLS.parent)]  # last, so that they hide nothing; the portable ComfyUI adds neither

from picture_text import plain, read_png  # noqa: E402
from private import Finding, is_fact  # noqa: E402
from private_graph import clean, is_json  # noqa: E402
from private_graph import findings as findings  # noqa: E402  # for those who have a graph, not a file

VIDEOS = (".mp4", ".mov", ".m4v")


class ShareError(Exception):
    """A file cannot be checked. The text says why."""


def read(path: Path) -> dict[str, Any]:
    """Returns what a file tells, by name: a JSON file's whole content, else its text metadata.

    Raises:
        ShareError: The file cannot be read.
    """
    return read_all(path)[0]


def read_all(path: Path) -> tuple[dict[str, Any], dict[str, str], list[Finding]]:
    """Returns what a file tells by name; what else stands in it, by place; and what in it is private in any case.

    No copy that is written has more than the first.

    Raises:
        ShareError: The file cannot be read.
    """
    try:
        if path.suffix.lower() == ".json":
            return {"": json.loads(path.read_text(encoding="utf-8"))}, {}, []
        if path.suffix.lower() == ".png":
            return read_png(path)
        if path.suffix.lower() in VIDEOS:
            return *read_video(path), []
    except (OSError, ValueError, SyntaxError, zlib.error) as error:  # broken EXIF is a SyntaxError to Pillow
        raise ShareError(f"A file must be readable to be checked; {path.name} is not: {error}.") from error
    raise ShareError(f"The check reads .json, .png, {', '.join(VIDEOS)}; {path.name} is none of these.")


def read_video(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Returns a video's metadata by name; and that of its streams and chapters, and its subtitles."""
    import av

    with av.open(str(path)) as container:
        parts = {f"streams[{stream.index}]": stream.metadata for stream in container.streams}
        if hasattr(container, "chapters"):  # an older PyAV has none
            parts |= {f"chapters[{index}]": one["metadata"] for index, one in enumerate(container.chapters())}
        other = {f"{part}.{name}": text for part, metadata in parts.items() for name, text in metadata.items()}
        if container.streams.subtitles:  # of none, all streams would be read
            for packet in container.demux(container.streams.subtitles):
                if packet.size:
                    other[f"streams[{packet.stream.index}][{len(other)}]"] = plain(
                        bytes(packet)[2:]
                    )  # after its length
        return dict(container.metadata), other


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
        add = (
            info.add_text if text.isascii() else info.add_itxt
        )  # ComfyUI reads either as UTF-8; the former has Latin-1
        add(name, text)
    with Image.open(path) as picture:
        picture.save(target, pnginfo=info, save_all=getattr(picture, "is_animated", False))


def write_video(path: Path, target: Path, told: dict[str, str]) -> None:
    """Copies pictures and sound without encoding them again. Chapters, subtitles and other data stay behind."""
    import av

    from media.mp4 import muxer_options
    from media.remux import add_copy
    from media.resolution import FPS

    with av.open(str(path)) as source:
        copied = [stream for stream in source.streams if stream.type in ("video", "audio")]
        rate = next((stream.average_rate for stream in source.streams.video), None)
        with av.open(str(target), "w", options=muxer_options(Fraction(rate or FPS))) as copy:
            copy.metadata.update({name: text for name, text in told.items() if name not in ("major_brand", "encoder")})
            streams = {stream.index: add_copy(copy, stream) for stream in copied}
            for packet in source.demux(copied):
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    copy.mux(packet)


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


def check(path: Path, prompts: bool, folder: Path | None) -> list[Finding]:
    """Returns what is private in a file, and writes a copy without it if a folder is given."""
    check_copies([path], folder)
    told, other, found = read_all(path)

    def cleaned_of(texts: dict[str, Any]) -> dict[str, Any]:
        return {
            name: clean(value, prompts, found.append, name, told, key := name.rpartition(".")[2], is_own(key, value))
            for name, value in texts.items()
        }

    cleaned_of(other)
    cleaned = cleaned_of(told)
    if folder is not None:
        target = folder / path.name
        extra = other and path.suffix.lower() == ".png"  # a video's streams tell something always
        if found or cleaned != told or extra:  # a copy may leave out more than what is private
            write(path, target, cleaned)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
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
    try:
        check_copies(options.files, options.strip_to)
    except ShareError as error:
        sys.stderr.write(f"{error}\n")
        return 2
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
    if isinstance(sys.stdout, io.TextIOWrapper):  # a Windows console's letters are few, file names have all
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main(sys.argv[1:]))
