"""What counts as private in a text and under a name: keys, people, machines, paths, and words that they wrote."""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import unquote

from private_keys import HIDDEN, is_hash_place, is_key_name, keys, snake
from private_people import told

__all__ = ["HIDDEN", "Finding", "Tell", "clean_text", "is_fact", "is_key_name", "is_own_title", "is_written"]

# A file within a text, and words with escapes such as %2F.
_DATA = re.compile(r"data:[\w/.+-]*;base64,[A-Za-z0-9+/=\s]+|(?<![\w/+])[A-Za-z0-9+/]{2000,}={0,2}")
_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")

# Paths.
_FOLDERS = (
    "home|Users|root|mnt|media|workspace|tmp|var|opt|data|Volumes|content|kaggle|storage|srv|notebooks|runpod-volume"
    "|teamspace|scratch|run|private|nfs|export|app|sdcard|System/Volumes"
)
_VARIABLES = r"\$\{?HOME\}?|\$env:USERPROFILE|%(?:USERPROFILE|HOMEPATH|APPDATA|LOCALAPPDATA)%|~"
_ABOVE_HOME = r"(?<!:)(?:/[\w.-]+)+"  # as in /nfs/home; an address has a colon before it
_SHARE = r"\\\\[\w.$-]+\\|(?<!:)//(?:[\w-]+(?:\.(?:local|lan))?|\d+(?:\.\d+){3})/"  # not //x.org/, an address too
_ROOTS = (
    rf"(?:[A-Za-z]:[\\/]|{_SHARE}|(?:file|smb|afp|nfs):/|(?:{_VARIABLES})[\\/]|/(?:{_FOLDERS})/"
    rf"|{_ABOVE_HOME}/(?:home|Users)/)"
)
_LETTER = r"(?:[^\s\\/\"'<>|*?]|(?<=\w)'(?=\w))"  # an apostrophe within a word is no quotation mark
_WORD = rf"(?![^\s\\/]*\.[A-Za-z]\w{{1,10}}[ ])(?:(?![:,;]){_LETTER})+"  # a file's name ends a path
_FOLDER = (
    rf"(?:{_LETTER}*|{_WORD}(?: +{_WORD}){{1,4}})[\\/]"  # "Ada Lovelace/": spaces, if a separator comes after them
)
_PATHS = re.compile(  # first /Users/Ada Lovelace, which ends with the name
    rf"(?<![\w/.])(?:(?:[A-Za-z]:|{_ABOVE_HOME})?[\\/](?:home|Users)[\\/]{_LETTER}+(?: [A-Z]\w*)+(?![\w\\/])"
    rf"|{_ROOTS}(?:{_FOLDER})*{_LETTER}*)"
)
_WHOLE_PATH = re.compile(rf"{_ROOTS}(?:{_LETTER}|[ \t\\/])*")
_HOME = re.compile(r".*[\\/](?:home|Users|run[\\/]media)[\\/][^\\/]+[\\/]?")

# Words that somebody wrote.
_WRITTEN_NAMES = re.compile(
    r"(?:^|_)(?:prompts?|text|string|value|words|positive|negative|caption|wildcards?|tags|lyrics|description"
    r"|message|instructions?|comments?|title|author|artist|notes?|parameters|subject|keywords|copyright)(?:_?(?:[a-z]|\d+))?$"
)
_FILE = re.compile(
    r"[^\n]*\.(?:safetensors|sft|gguf|ckpt|pt|pth|bin|onnx|png|jpe?g|webp|gif|bmp|mp4|mov|m4v|webm|mkv|wav|mp3|flac|ogg"
    r"|json|ya?ml|txt|csv)(?: \[\w+\])?",
    re.IGNORECASE,
)
# An option: one word without a comma, in ASCII; or "WaveSpeed: wan-2.2/image-to-video (unrestricted)".
_CHOICE = re.compile(
    r"(?:https?://[\x21-\x2b\x2d-\x7e]+|[\x21-\x2b\x2d-\x7e]{1,80})|[\w.]+: [\w.-]+/[\w./-]+(?: \(\w+\))?"
)
_FACT_NAMES = re.compile(  # what a program tells of itself and of the time, in a file's metadata
    r"(?:^|_)(?:brands?|version|encoder|software|(?:date|time)\w*|handler_name|vendor_id|language)(?:_|$)"
)
_TITLE_WORDS = re.compile(  # that ComfyUI and this pack call nodes by; letters and numbers among them
    r"\d+[a-z]?|[a-z]\d*"
    r"|720p|adaptive|advanced|and|animation|anthropic|anything|api|apply|as|attention|audio|banana|biased|boolean"
    r"|bounding|by|cfg|chatgpt|clip|colors|conditioning|config|convert|count|create|custom|damping|debugging"
    r"|decode|decoder|decoding|deep|deprecated|depth|detect|detection|diffusion|draft|draw|duration|edges|edit"
    r"|effects|empty|encode|encoder|encoding|end|extension|extract|fibo|first|fit|float|for|frame|frames|from"
    r"|generate|generation|get|google|group|guidance|guider|height|high|hosted|hunyuan3d|hunyuanvideo|i2v|id|image"
    r"|images|img2vid|inpainting|input|int|interpolation|into|join|kohya|last|latent|latents|legacy|length|load"
    r"|loader|lora|low|ltxv|markdown|mask|masks|model|models|mp4|nano|negative|new|noise|normalized|note|of"
    r"|options|outpainting|output|outputs|patch|picker|picture|positive|preprocessor|preview|primitive|pro"
    r"|projected|prompt|prompts|rate|rcm|real|realistic|remove|reroute|resize|rigged|run|sampler|sampling|save"
    r"|seedance|set|settings|shrink|sigmas|size|so|splats|split|start|step|steps|string|subgraph|tangential|text"
    r"|tiles|time|to|trigger|try|tsr|turbo|two|uni|upscale|using|v2v|vae|video|virtual|voice|wan|width|with|words"
)


class Finding(NamedTuple):
    """Something private: what kind, where in the file, and its text cut short: of a key nearly nothing is left."""

    kind: str
    place: str
    shown: str

    def __str__(self) -> str:
        return f"{self.kind} at {self.place}: {self.shown}"


Tell = Callable[[Finding], object]


def is_written(text: str, name: str) -> bool:
    """Returns whether somebody wrote a text: by the name it stands under, or as no file, address or option looks."""
    text = text.strip()
    named = _WRITTEN_NAMES.search(snake(name)) is not None
    if not re.search(r"[^\W\d_]", text) or (_FILE.fullmatch(text) and not (named and " " in text)):
        return False
    return named or not (_CHOICE.fullmatch(text) or _WHOLE_PATH.fullmatch(text))


def is_fact(name: str) -> bool:
    """Returns whether a name in a file's metadata is that of a fact, which no person wrote: its encoder, its date."""
    return _FACT_NAMES.search(snake(name)) is not None


def is_own_title(title: str, kind: str) -> bool:
    """Returns whether a title tells no more than the kind of its node and words that nodes are called by.

    Args:
        title: Of a node or group, as ComfyUI gives it or as somebody wrote it.
        kind: The node's type; a subgraph's is a UUID.
    """
    of_kind = re.sub(r"[\W_]", "", kind).lower()
    words = re.findall(r"\w+", title.lower().replace("_", " "))
    return all(word in of_kind or _TITLE_WORDS.fullmatch(word) for word in words)


def clean_text(text: str, tell: Tell, place: str, name: str = "") -> str:
    """Returns a text without what is private in it: keys, people, machines, positions; of paths the file's name stays.

    Args:
        text: Any text.
        tell: Takes each finding.
        place: Where the text stands, for the findings.
        name: What it stands under. Under a hash's name random letters are no key.
    """

    def found(kind: str, shown: str) -> None:
        tell(Finding(kind, place.lstrip("."), shown))

    def hide_path(path: re.Match[str]) -> str:
        found("path", path[0])
        return HIDDEN if _HOME.fullmatch(path[0]) else re.split(r"[\\/]", path[0].rstrip("\\/"))[-1]

    under = snake(name)
    hashes = is_hash_place(snake(place), under) or _FILE.fullmatch(name) is not None
    if data := _DATA.search(text):
        found("data", f"{data[0][:20]}{HIDDEN}, {len(text)} letters")
        text = _DATA.sub(HIDDEN, text)
    parts = [(key.begin, key.end, "key", key.shown, key.rest) for key in keys(text, hashes)]
    text = replaced(text, parts, found)
    whole = _WHOLE_PATH.fullmatch(text)  # folders may have spaces, and a path alone in its widget ends where that ends
    text = hide_path(whole) if whole else _PATHS.sub(hide_path, text)
    parts = [(one.begin, one.end, one.kind, HIDDEN, one.kept + HIDDEN) for one in told(text, under)]
    text = replaced(text, parts, found)
    if not _ESCAPED.search(text):
        return text
    return "".join(unescaped(word, tell, place, name) for word in re.split(r"(\s+)", text))


def replaced(text: str, parts: Iterable[tuple[int, int, str, str, str]], found: Callable[[str, str], object]) -> str:
    """Returns a text with parts of it replaced; of parts that overlap, the first takes in the others.

    Args:
        text: Any text.
        parts: Of each where it begins and ends, its kind, what is shown of it, and what takes its place.
        found: Takes the kind, and what is shown.
    """
    done, kept = 0, []
    for begin, end, kind, shown, instead in sorted(parts):
        if begin >= done:
            found(kind, shown)
            kept += [text[done:begin], instead]
        done = max(done, end)
    return "".join([*kept, text[done:]])


def unescaped(word: str, tell: Tell, place: str, name: str) -> str:
    """Returns a word with %2F and the like as it is, unless what it stands for tells something private."""
    plain = unquote(word)
    shared = plain if plain == word else clean_text(plain, tell, place, name)
    return word if shared == plain else shared
