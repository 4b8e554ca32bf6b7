"""What counts as private in a text and under a name: keys, paths, where somebody was, and words that they wrote."""

import re
from collections.abc import Callable
from typing import NamedTuple

HIDDEN = "***"

# Keys, by the prefixes of Hugging Face, GitHub, GitLab, OpenAI, WaveSpeed, Replicate, Slack, Groq, NVIDIA, Perplexity,
# RunPod, ElevenLabs, Amazon and Google; eyJ begins a JSON Web Token; fal's keys are a UUID, a colon and hexadecimal
# digits.
_TOKEN = r"[\w.~+/=-]"
_NO_WORD = rf"(?={_TOKEN}*\d|{_TOKEN}{{20}})"  # else "bearer standing" were a key
_KEYS = re.compile(
    r"\b(?-i:sk-|hf_|gh[pousr]_|github_pat_|glpat-|wsk_|r8_|xox[abeprs]-|gsk_|nvapi-|pplx-|rpa_)"
    r"(?=[\w-]*\d|[\w-]{20})[\w-]{8,}(?![\w-]|\.[A-Za-z])"  # but hf_wan22_high.safetensors is a file
    r"|\b(?-i:sk_)(?:[a-z]{1,8}_)?(?=[a-z]*\d)[0-9a-z]{16,}(?![\w-]|\.[a-z])"  # sk_wan22_turbo is none
    r"|\b(?-i:A[KS]IA)[0-9A-Z]{12,}|\b(?-i:AIza)[\w-]{20,}|\b(?-i:eyJ)[\w-]{4,}\.[\w-]{4,}\.[\w-]*"
    rf"|\bbearer\s+{_NO_WORD}{_TOKEN}{{8,}}"
    r"|\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}:[0-9a-f]{16,}\b"
    r"|(?<=[?&#])[\w-]*(?:token|key|signature|sig|credential|secret|password|auth)=(?!\*\*\*)[^&#\s\"'<>]+"
    r"|(?<=://)[^\s\"'<>/?#@*]+@",
    re.IGNORECASE,
)
_SECRET = (
    r"(?:api|access|auth|secret|private|fal|hf|openai|wavespeed|replicate|google|runpod|civitai)[_-]?(?:key|token)"
)
_SCHEME = r"(?:(?:basic|bearer|token|key)[ ]+)?"
_VALUE = rf"(?!{_SCHEME}\*\*\*|your|xxx|\.\.\.|none\b|null\b){_SCHEME}[^\s\"'<>,;&]+"
_ASSIGNED = re.compile(  # password=x, api_key: x; after a word that is also said of other things, only what is no word
    rf"(?<![\w?&#-])((?:[\w-]*(?:{_SECRET}|client[_-]?secret|password|passwd)[\"']?[ \t]*[:=]"
    r"|(?:[\w-]*[_-])?(?:token|secret|auth|authorization)[\"']?=)[ \t]*[\"']?"
    r"|authorization[\"']?[ \t]*[:=][ \t]*[\"']?(?=(?:basic|bearer|token|key)[ ])"
    rf"|(?:api key|token|secret|auth|authorization)[\"']?[ \t]*[:=][ \t]*[\"']?"
    rf"(?={_SCHEME}{_NO_WORD}{_TOKEN}{{8}}))({_VALUE})",
    re.IGNORECASE,
)
_HEX = re.compile(  # not within a file's name or an address, where hashes stand
    r"(?<![\w/.:=@\\-])(?=[0-9a-f]*\d)(?=\d*[a-f])[0-9a-f]{32,}(?![\w/\\-]|\.\w)", re.IGNORECASE
)
_HASH = r"(?:hash(?:es)?|sha-?\d*|md5|blake\w*|crc\d*|digest|checksum|fingerprint|commit|revision)"
_HASH_PLACES = re.compile(rf"(?:^|_)(?:{_HASH}|versions|is_changed)(?:_|$)|(?:^|_)(?:id|uuid|ver|version|rev|etag)$")
_HASH_BEFORE = re.compile(rf"\b{_HASH}\W{{0,3}}$", re.IGNORECASE)
_KEY_NAMES = re.compile(
    rf"(?:^|_)(?:{_SECRET}|api_?keys|\w*token|auth|secret|pass(?:word|wd|phrase)"
    r"|authorization|credentials?)(?:_?\d+|_(?:value|header|string|id))?$"
)

# Paths.
_FOLDERS = (
    "home|Users|root|mnt|media|workspace|tmp|var|opt|data|Volumes|content|kaggle|storage|srv|notebooks|runpod-volume"
    "|teamspace|scratch|run|private|nfs|export|app|System/Volumes"
)
_VARIABLES = r"\$\{?HOME\}?|\$env:USERPROFILE|%(?:USERPROFILE|HOMEPATH|APPDATA|LOCALAPPDATA)%|~"
_ABOVE_HOME = r"(?<!:)(?:/[\w.-]+)+"  # as in /nfs/home; an address has a colon before it
_SHARE = r"\\\\[\w.$-]+\\|(?<!:)//(?:[\w-]+(?:\.(?:local|lan))?|\d+(?:\.\d+){3})/"  # not //x.org/, an address too
_ROOTS = rf"(?:[A-Za-z]:[\\/]|{_SHARE}|file:/|(?:{_VARIABLES})[\\/]|/(?:{_FOLDERS})/|{_ABOVE_HOME}/(?:home|Users)/)"
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

# Latitude and longitude: in ISO 6709, as in a phone's clip, or in XMP.
_POSITION = re.compile(
    r"(?<![\w.)\]])[+-](?:[0-8]\d|90)\.\d{3,}[+-](?:0\d|1[0-7])\d\.\d{3,}"
    r"(?:[+-]\d+(?:\.\d+)?)?(?:CRS\w+)?(?:/|(?![\w+-]|\.\d))"
    r"|(?<=GPS)((?:Dest)?(?:Latitude|Longitude)\W{1,3})\d[\d.,]*[NSEW]?"
)
_POSITION_NAMES = re.compile(r"(?:^|_)(?:location(?:_[a-z]{3})?|iso6709)$")
_NUMBERS = re.compile(r"[+-]\d+(?:\.\d*)?[+-]\d.*")

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
    """Something private: what kind, where in the file, and its text cut short, a key as good as not at all."""

    kind: str
    place: str
    shown: str

    def __str__(self) -> str:
        return f"{self.kind} at {self.place}: {self.shown}"


Tell = Callable[[Finding], object]


def is_key_name(name: str) -> bool:
    """Says whether a key, a token or a password stands under a name: api_key, authToken, X-API-Key."""
    return _KEY_NAMES.search(_snake(name)) is not None


def is_written(text: str, name: str) -> bool:
    """Says whether somebody wrote a text: by the name it stands under, or as no file, address or option would look."""
    text = text.strip()
    named = _WRITTEN_NAMES.search(_snake(name)) is not None
    if not re.search(r"[^\W\d_]", text) or (_FILE.fullmatch(text) and not (named and " " in text)):
        return False
    return named or not (_CHOICE.fullmatch(text) or _WHOLE_PATH.fullmatch(text))


def is_fact(name: str) -> bool:
    """Says whether a name in a file's metadata is that of a fact, which no person wrote: its encoder, its date."""
    return _FACT_NAMES.search(_snake(name)) is not None


def is_own_title(title: str, kind: str) -> bool:
    """Says whether a title tells no more than the kind of its node and words that nodes are called by.

    Args:
        title: Of a node or group, as ComfyUI gives it or as somebody wrote it.
        kind: The node's type; a subgraph's is a UUID.
    """
    of_kind = re.sub(r"[\W_]", "", kind).lower()
    words = re.findall(r"\w+", title.lower().replace("_", " "))
    return all(word in of_kind or _TITLE_WORDS.fullmatch(word) for word in words)


def clean_text(text: str, tell: Tell, place: str, name: str = "") -> str:
    """Hides keys and positions on the Earth in a text, and of private paths leaves the file's name."""

    def hide_key(found: re.Match[str]) -> str:
        tell(Finding("key", place.lstrip("."), found[0][:4] + HIDDEN))
        label, equals, _ = found[0].partition("=")
        if equals and text[found.start() - 1 : found.start()] in ("?", "&", "#"):
            return label + equals + HIDDEN
        return HIDDEN + ("@" if found[0].endswith("@") else "")

    def hide_value(found: re.Match[str]) -> str:
        tell(Finding("key", place.lstrip("."), found[1] + HIDDEN))
        return found[1] + HIDDEN

    def hide_hex(found: re.Match[str]) -> str:
        if _HASH_BEFORE.search(text[max(0, found.start() - 20) : found.start()]):
            return found[0]
        tell(Finding("key", place.lstrip("."), found[0][:4] + HIDDEN))
        return HIDDEN

    def hide_path(found: re.Match[str]) -> str:
        tell(Finding("path", place.lstrip("."), found[0]))
        return HIDDEN if _HOME.fullmatch(found[0]) else re.split(r"[\\/]", found[0].rstrip("\\/"))[-1]

    def hide_position(found: re.Match[str]) -> str:
        tell(Finding("position", place.lstrip("."), HIDDEN))
        return (found[found.lastindex] if found.lastindex else "") + HIDDEN

    coarse = _NUMBERS.fullmatch(text) if _POSITION_NAMES.search(_snake(name)) else None
    text = hide_position(coarse) if coarse else _POSITION.sub(hide_position, text)
    text = _ASSIGNED.sub(hide_value, _KEYS.sub(hide_key, text))
    if not (_HASH_PLACES.search(_snake(place)) or _HASH_PLACES.search(_snake(name)) or _FILE.fullmatch(name)):
        text = _HEX.sub(hide_hex, text)
    whole = _WHOLE_PATH.fullmatch(text)  # folders may have spaces, and a path alone in its widget ends where that ends
    return hide_path(whole) if whole else _PATHS.sub(hide_path, text)


def _snake(name: str) -> str:
    """Writes authToken, X-API-Key and "Auth token" as auth_token, x_api_key and auth_token."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9_]+", "_", name).lower()
