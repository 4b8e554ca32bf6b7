"""Takes secrets out of text that people will see or share: keys, the secret parts of addresses, inlined files.

Of an address, host and path are left, and a mark where more stood. There is no list of names under which a secret
may stand: each storage service has names of its own, and the next one has others.
"""

import re
from typing import Any

HIDDEN = "***"
DEEPEST = 100  # levels; graphs have a dozen, and Python itself gives up at some hundred
_ENDS = r"\s\"<>"  # what is in no address
_SLASHES = r"(?:\\?/){2}"  # also as JSON may write them
# Backslashes belong to what JSON escapes within an address (\u0026 is an &), but not the one before a quotation mark.
_REST = rf"(?:[^{_ENDS}\\]|\\[^{_ENDS}])*"
_ADDRESS = re.compile(
    rf"(?P<start>(?<=\w):{_SLASHES}|(?<![\w:\\/]){_SLASHES}(?=[\w-]+\.))(?P<user>[^{_ENDS}/?#\\]*@)?"
    rf"(?P<path>(?:[^{_ENDS}?#\\]|\\/)*)(?P<query>\?(?:[^{_ENDS}#\\]|\\[^{_ENDS}])*)?(?P<fragment>#{_REST})?"
)
# Found without a query too, and then left as it is: else each start within a long path would look for one anew.
_WITHOUT_SCHEME = re.compile(
    rf"(?<![\w.@/\\-])(?P<path>(?:[\w-]+\.)+[a-z]{{2,}}(?::\d+)?/[^{_ENDS}?#\\]*)(?P<query>[?#]{_REST})?", re.IGNORECASE
)
_WHOLE = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:)?(?P<start>//)[^\s?#]*(?P<query>[?#]\S*)\s*", re.IGNORECASE)
_PARAMETER = re.compile(r"(?<=/)[^/;]*(?:=|%3[DF])[^/]*|;[^/]*", re.IGNORECASE)  # in a path
_ESCAPED = re.compile(  # as one stands in another, with escapes, which may be escaped again; some leave slashes and @
    rf"(?P<start>\b[a-z][a-z0-9+.-]{{0,20}}(?:%(?:25)*3A(?:%(?:25)*2F|/){{2}}|:(?:%(?:25)*2F){{2}}))"
    rf"(?:(?:(?!%(?:25)*(?:2F|3F|23))[^{_ENDS}/&?#])*(?:%(?:25)*40|@))?"
    rf"(?P<path>(?:(?!%(?:25)*(?:3F|23))[^{_ENDS}&?#])*)(?P<rest>[^{_ENDS}&]*)",
    re.IGNORECASE,
)
_NO_PORT = re.compile(r"[^/\[\]]*:(?!\d+(?:/|$))")  # user:password/..., whose @ comes later
_AFTER = ")]}.,;:!?'`|"  # what a sentence puts behind an address
_DATA_URI = re.compile(r"data:[\w.+/-]+;base64,[\w+/=-]+", re.IGNORECASE)
_BEARER = re.compile(r"(bearer\s+|\bsk-)[\w.~+/=-]{6,}", re.IGNORECASE)


def mask(text: str, *secrets: str) -> str:
    """Hides the secrets given, whatever looks like a key, and all of every address but host and path.

    Args:
        text: Anything that a provider or a library said.
        secrets: Strings that must not be seen; empty ones are skipped.
    """
    for secret in secrets:
        text = text.replace(secret, HIDDEN) if secret else text
    text = _DATA_URI.sub(f"data:{HIDDEN}", text)
    text = _BEARER.sub(lambda found: found[1] + HIDDEN, text)
    return without_tokens(text)


def without_tokens(value: Any, levels: int = DEEPEST) -> Any:
    """Hides all of every address but host and path within a JSON value, and leaves everything else as it is.

    For graphs: a masked address still says which file it means, and that a part of it is missing.

    Args:
        levels: What is deeper is hidden whole.
    """
    if isinstance(value, str):
        return _addresses(value)
    if isinstance(value, dict | list) and not levels:
        return HIDDEN
    if isinstance(value, dict):
        return {without_tokens(name): without_tokens(part, levels - 1) for name, part in value.items()}
    if isinstance(value, list):
        return [without_tokens(part, levels - 1) for part in value]
    return value


def _addresses(text: str) -> str:
    if "%" in text:
        text = _ESCAPED.sub(_escaped, text)
    if not ("/" in text and re.search(r"[?#@=;%]", text)):
        return text
    whole = _WHOLE.fullmatch(text)  # alone in its field, it ends where that ends, whatever is in it
    if whole:
        text = f"{text[: whole.start('query')]}{whole['query'][0]}{HIDDEN}"
    return _WITHOUT_SCHEME.sub(_bare, _ADDRESS.sub(_address, text))


def _address(found: re.Match[str]) -> str:
    return f"{found['start']}{_path(found['path'])}{_hidden(found['query'])}{_hidden(found['fragment'])}"


def _escaped(found: re.Match[str]) -> str:
    return f"{found['start']}{found['path']}{HIDDEN if found['rest'] else ''}"


def _bare(found: re.Match[str]) -> str:
    hides = found["query"] and "=" in found[0]
    return f"{_path(found['path'])}{_hidden(found['query'])}" if hides else found[0]


def _path(path: str) -> str:
    if _NO_PORT.match(path):
        return HIDDEN
    kept = path.rstrip(_AFTER)
    return _PARAMETER.sub(lambda part: (";" if part[0].startswith(";") else "") + HIDDEN, kept) + path[len(kept) :]


def _hidden(part: str | None) -> str:
    part = part or ""
    kept = part.rstrip(_AFTER)
    return (kept[0] + HIDDEN if len(kept) > 1 else kept) + part[len(kept) :]
