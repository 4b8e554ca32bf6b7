"""What may stand in `filename_prefix`: names that the disk takes, that stay in one folder, and that ComfyUI shows.

ComfyUI's `/view` refuses a file with two dots side by side in its name, so such a clip would be saved and never seen.
Tokens like `%date:yyyy-MM-dd%` are filled in by the page before a prompt is posted, those of `TOKEN` by ComfyUI. Which
number follows the prefix is decided where the name is taken, by `publish.NextName`.
"""

import os
import re
import shutil
import unicodedata
from pathlib import Path

from .publish import LATENT, NO_ROOM, check_writable

MAX_LETTERS = 1000  # of a whole prefix: looked at before anything else is
NAME_MAX, PATH_MAX = 255, 4096  # bytes, where the disk does not say
ADDED = len(f"_{10**12}_{LATENT}")  # the longest that comes behind the prefix
LEAST_FREE = 1 << 20  # bytes; no clip with its latent is that small
TOKEN = re.compile("%(?:width|height|year|month|day|hour|minute|second)%")  # ComfyUI's, each of up to five digits
# These turn what stands around them, so that a name reads as another. (Marks between letters do not.)
BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
WINDOWS_LETTERS = frozenset('<>:"|?*')
WINDOWS_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(?:\.|$)", re.IGNORECASE)


def check_prefix(prefix: str, output: str | os.PathLike[str], windows: bool = os.name == "nt") -> str:
    """Checks what a person typed, without touching the disk.

    Args:
        prefix: A name, or folders and a name, below `output`; ComfyUI's tokens such as %year% may still be in it.
        output: ComfyUI's output folder.
        windows: Whether the rules of Windows hold.

    Returns:
        The same name in its shortest form: relative, without `.`, `..` and a slash at its end.

    Raises:
        ValueError: The rule, the value and what to change.
    """
    if len(prefix) > MAX_LETTERS:
        raise ValueError(f"filename_prefix has up to {MAX_LETTERS} letters, got {len(prefix)}. Shorten it.")
    _check_letters(prefix, windows)
    root = os.path.abspath(output)
    path = os.path.abspath(os.path.join(root, TOKEN.sub("00000", prefix)))
    if not Path(path).is_relative_to(root):
        raise ValueError(
            f"Clips are saved below ComfyUI's output folder, and '{shown(prefix)}' leads out of it. Remove the ../."
        )
    if path == root:
        raise ValueError(
            f"filename_prefix is the beginning of a clip's name, and '{shown(prefix)}' holds none. "
            "Type one, such as video/wan22-turbo."
        )
    *folders, stem = os.path.relpath(path, root).split(os.sep)
    _check_stem(stem)
    if windows:
        _check_windows(folders, stem)
    _check_length(root, folders, stem)
    return os.path.relpath(os.path.join(root, prefix), root)


def check_folder(prefix: str, folder: str | os.PathLike[str]) -> None:
    """Checks that a folder can take a clip, or can be created, without creating it.

    Args:
        prefix: As the person typed it, for the error.
        folder: Where its clips go.

    Raises:
        ValueError: The rule, the value and what to change.
    """
    existing = Path(folder)
    while not os.path.lexists(existing):
        existing = existing.parent
    rule = f"Nothing can be saved under filename_prefix '{shown(prefix)}': "
    if not existing.is_dir():
        raise ValueError(f"{rule}'{shown(existing.name)}' is no folder. Choose another one.")
    try:
        check_writable(existing)
        free = shutil.disk_usage(existing).free
    except OSError as err:
        full = "Make room on the disk." if err.errno in NO_ROOM else ""
        raise ValueError(
            f"{rule}{err.strerror}. {full or 'Let ComfyUI write there, or choose another folder.'}"
        ) from err
    if free < LEAST_FREE:
        raise ValueError(f"{rule}the disk has {free // 1024} kB left. Make room on the disk.")


def shown(name: str) -> str:
    """Returns a name for a sentence: the beginning of a long one."""
    return name if len(name) <= 60 else f"{name[:57]}..."


def _check_letters(prefix: str, windows: bool) -> None:
    for place, letter in enumerate(prefix, 1):
        unwritable = unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or letter in BIDI
        if unwritable or (windows and letter in WINDOWS_LETTERS):
            name = unicodedata.name(letter, "a control character")
            raise ValueError(
                f"A file name cannot hold every letter: letter {place} of filename_prefix is U+{ord(letter):04X}, "
                f"{name.lower()}. Remove it."
            )


def _check_stem(stem: str) -> None:
    if ".." in stem:
        raise ValueError(
            "ComfyUI shows no file with two dots side by side in its name, and filename_prefix ends in "
            f"'{shown(stem)}'. Write one dot."
        )
    if stem.startswith("blake3:"):
        raise ValueError(
            "ComfyUI takes a name that begins with 'blake3:' for a check sum, and filename_prefix ends in "
            f"'{shown(stem)}'. Remove the colon."
        )


def _check_windows(folders: list[str], stem: str) -> None:
    for name in (*folders, f"{stem}_"):
        if WINDOWS_DEVICE.match(name):
            raise ValueError(f"Windows keeps names such as '{name}' for devices. Choose another in filename_prefix.")
        if name.endswith((".", " ")):
            raise ValueError(
                f"Windows takes no folder name that ends in a dot or a space, and filename_prefix has '{name}'. "
                "Remove it."
            )


def _check_length(root: str, folders: list[str], stem: str) -> None:
    most = _limit(root, "PC_NAME_MAX", NAME_MAX)
    for name, added in (*((folder, 0) for folder in folders), (stem, ADDED)):
        if len(os.fsencode(name)) > most - added:
            raise ValueError(
                f"A name in filename_prefix has up to {most - added} bytes, got {len(os.fsencode(name))}: "
                f"'{shown(name)}'. Shorten it; a letter that is not English counts two to four."
            )
    length = len(os.fsencode(os.path.join(root, *folders, stem))) + ADDED
    most = _limit(root, "PC_PATH_MAX", PATH_MAX)
    if length >= most:
        raise ValueError(f"A path has up to {most - 1} bytes, and filename_prefix makes it {length}. Shorten it.")


def _limit(folder: str, name: str, otherwise: int) -> int:
    try:
        return os.pathconf(folder, name)
    except (AttributeError, OSError, ValueError):  # Windows; no such folder yet; a system that does not say
        return otherwise
