"""Takes secrets out of text that people will see or share: keys, signed addresses, inlined files."""

import re
from typing import Any

HIDDEN = "***"
_URL = re.compile(r"(https?://)([^\s\"'<>/?#]*@)?([^\s\"'<>?#]*)(\?[^\s\"'<>#]*)?(#[^\s\"'<>]*)?", re.IGNORECASE)
_DATA_URI = re.compile(r"data:[\w.+/-]+;base64,[\w+/=-]+", re.IGNORECASE)
_BEARER = re.compile(r"(bearer\s+|\bsk-)[\w.~+/=-]{6,}", re.IGNORECASE)
_TOKEN = re.compile(
    r"([?&#](?:[\w-]*token|[\w-]*key|[\w-]*signature|[\w-]*credential|sig|secret|password|auth)=)[^&#\s\"'<>]+",
    re.IGNORECASE,
)
_PASSWORD = re.compile(r"(https?://)[^\s\"'<>/?#@]+@", re.IGNORECASE)


def mask(text: str, *secrets: str) -> str:
    """Hides the secrets given, whatever looks like a key, and query and fragment of every address.

    Args:
        text: Anything that a provider or a library said.
        secrets: Strings that must not be seen; empty ones are skipped.
    """
    for secret in secrets:
        text = text.replace(secret, HIDDEN) if secret else text
    text = _DATA_URI.sub(f"data:{HIDDEN}", text)
    text = _BEARER.sub(lambda found: found[1] + HIDDEN, text)
    return _URL.sub(_address, text)


def _address(found: re.Match[str]) -> str:
    query, fragment = (f"{mark}{HIDDEN}" if part else "" for mark, part in (("?", found[4]), ("#", found[5])))
    return f"{found[1]}{found[3]}{query}{fragment}"


def without_tokens(value: Any) -> Any:
    """Hides the tokens in the addresses within a JSON value, and leaves everything else as it is.

    For graphs: an address keeps the parts that say which file it means.
    """
    if isinstance(value, str):
        return _PASSWORD.sub(rf"\1{HIDDEN}@", _TOKEN.sub(rf"\1{HIDDEN}", value))
    if isinstance(value, dict):
        return {name: without_tokens(part) for name, part in value.items()}
    if isinstance(value, list):
        return [without_tokens(part) for part in value]
    return value
