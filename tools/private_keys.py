"""Keys, tokens and passwords in a text: by their beginnings, by what they are called, and by their random letters."""

import re
from collections.abc import Iterator
from typing import NamedTuple

HIDDEN = "***"

# Beginnings of keys. Hugging Face, GitHub, GitLab, OpenAI and its kind, WaveSpeed, Replicate, Slack, Groq, NVIDIA,
# Perplexity, RunPod, xAI, Together, Fireworks, npm, PyPI, Stripe, Shopify, Square, DigitalOcean, Linear, Notion, Figma,
# Postman, Databricks, Grafana, New Relic, Doppler, Atlassian, Google's OAuth and Vault.
_BEGINNINGS = (
    r"sk-|hf_|gh[pousr]_|github_pat_|glpat-|wsk_|r8_|xox[abeprs]-|xapp-|gsk_|nvapi-|pplx-|rpa_|xai-|tgp_v1_|fw_|npm_"
    r"|pypi-|[rs]k_(?:live|test)_|whsec_|shp(?:at|ca|pa|ss)_|sq0[a-z]{3}-|do[opr]_v1_|lin_api_|ntn_|figd_|PMAK-|dapi"
    r"|glsa_|NRAK-|dp\.pt\.|ATATT|GOCSPX-|ya29\.|hvs\.|sl\.|SG\.|AGE-SECRET-KEY-|apikey-|key-"
)
_TOKEN = r"[\w.~+/=-]"
_NO_WORD = rf"(?={_TOKEN}*\d|{_TOKEN}{{20}})"  # else "bearer standing" were a key
_PEM = r"-----BEGIN [A-Z ]*(?:KEY|BLOCK|MESSAGE)[A-Z ]*-----(?:.*?-----END [A-Z ]+-----|.*)"
_KEYS = re.compile(
    rf"(?-i:{_PEM})"
    rf"|\b(?-i:{_BEGINNINGS})(?=[\w.-]*\d|[\w-]{{20}})[\w-]{{8,}}(?:\.[\w-]{{12,}})*(?![\w-]|\.[A-Za-z])"
    r"|\b(?-i:sk_)(?:[a-z]{1,8}_)?(?=[a-z]*\d)[0-9a-z]{16,}(?![\w-]|\.[a-z])"  # sk_wan22_turbo is none
    r"|\b(?-i:A[KS]IA)[0-9A-Z]{12,}|\b(?-i:AIza)[\w-]{20,}|(?<![\w-])(?-i:eyJ)[\w-]{4,}\.[\w-]{4,}\.[\w-]*"
    r"|\b\d{8,12}:(?-i:AA)[\w-]{30,}"  # a Telegram bot
    rf"|\bbearer\s+{_NO_WORD}{_TOKEN}{{8,}}"
    r"|\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}:[0-9a-f]{16,}\b"  # fal: a UUID, a colon and hexadecimal digits
    r"|(?<=[?&#])[\w-]*(?:token|key|signature|sig|credential|secret|password|auth)=(?!\*\*\*)[^&#\s\"'<>]+"
    r"|(?<=://)[^\s\"'<>/?#@*]+@",
    re.IGNORECASE | re.DOTALL,
)
_SECRET = (
    r"(?:api|access|account|auth|secret|private|fal|hf|openai|wavespeed|replicate|google|runpod|civitai)[_-]?"
    r"(?:key|token)"
)
_SCHEME = r"(?:(?:basic|bearer|token|key)[ ]+)?"
_VALUE = rf"(?!{_SCHEME}\*\*\*|your|xxx|\.\.\.|none\b|null\b){_SCHEME}[^\s\"'<>,;&]+"
_ASSIGNED = re.compile(  # password=x, api_key: x; after a word that is also said of other things, only what is no word
    rf"(?<![\w?&#-])((?:[\w-]*(?:{_SECRET}|client[_-]?secret|password|passwd|passphrase|passcode|pwd)[\"']?[ \t]*[:=]"
    r"|(?:[\w-]*[_-])?(?:token|secret|auth|authorization)[\"']?=)[ \t]*[\"']?"
    r"|authorization[\"']?[ \t]*[:=][ \t]*[\"']?(?=(?:basic|bearer|token|key)[ ])"
    r"|(?:set-)?cookie:[ \t]*[\w-]+=|(?:-u|--user)[ \t]+[\"']?[\w.@-]+:"
    rf"|password[ \t]+(?:is[ \t]+)?(?={_NO_WORD}{_TOKEN}{{8}})"
    rf"|(?:api key|token|secret|auth|authorization)[\"']?[ \t]*[:=][ \t]*[\"']?"
    rf"(?={_SCHEME}{_NO_WORD}{_TOKEN}{{8}}))({_VALUE})",
    re.IGNORECASE,
)
# Addresses that whoever knows them may write to.
_WEBHOOKS = re.compile(
    r"https?://(?:hooks\.slack\.com|[\w.-]*discord(?:app)?\.com/api/webhooks|[\w.-]+\.webhook\.office\.com"
    r"|hooks\.zapier\.com|[\w.-]+\.logic\.azure\.com|api\.telegram\.org/bot|ntfy\.sh|hook[\w.-]*\.make\.com"
    r"|webhook\.site|maker\.ifttt\.com|[\w.-]*pipedream\.net)[^\s\"'<>]*"
    r"|https?://[^\s\"'<>:]{1,200}/webhooks?/[^\s\"'<>]+",
    re.IGNORECASE,
)
_RANDOM = re.compile(  # not within a file's name or an address, where hashes stand
    r"(?<![\w/.:=@\\+~-])(?=[+/_=A-Za-z0-9-]*?[A-Za-z0-9]{16})[A-Za-z0-9+/_=-]+"  # one way to match: linear time
    r"(?:\.[A-Za-z0-9+/_=-]{6,})*(?![\w/\\-]|\.\w)"
)
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_HEX = re.compile(r"(?:0x)?(?=[0-9a-f]*\d)(?=\d*[a-f])[0-9a-f]{32,}", re.IGNORECASE)
_PINYIN = re.compile(r"(?:[a-z]{1,6}[1-5]){4,}")
RANDOM_LENGTH = 24  # letters and digits that a key has at least
RANDOM_PART = 3.0  # letters that its parts have on average, at most: those of FluxImageToVideo2 are longer

_HASH = r"(?:hash(?:es)?|sha-?\d*|md5|blake\w*|crc\d*|digest|checksum|fingerprint|commit|revision)"
_HASH_PLACES = re.compile(rf"(?:^|_)(?:{_HASH}|versions|is_changed)(?:_|$)|(?:^|_)(?:id|uuid|ver|version|rev|etag)$")
_HASH_BEFORE = re.compile(rf"\b{_HASH}\W{{0,3}}$", re.IGNORECASE)
_KEY_NAMES = re.compile(
    rf"(?:^|_)(?:{_SECRET}|api_?keys|\w*token|auth|secret|pass(?:word|wd|phrase)"
    r"|authorization|credentials?)(?:_?\d+|_(?:value|header|string|id))?$"
)


class Key(NamedTuple):
    """A key in a text: where it begins and ends, and what of it may be shown and stays."""

    begin: int
    end: int
    shown: str
    rest: str


def keys(text: str, hashes: bool = False) -> Iterator[Key]:
    """Yields the keys of a text; some may lie within others.

    Args:
        text: Any text.
        hashes: Whether a hash may stand here, so that random letters tell nothing.
    """
    for found in _KEYS.finditer(text):
        label, equals, _ = found[0].partition("=")
        in_query = equals and text[found.start() - 1 : found.start()] in ("?", "&", "#")
        rest = f"{label}={HIDDEN}" if in_query else HIDDEN + ("@" if found[0].endswith("@") else "")
        yield Key(*found.span(), found[0][:4] + HIDDEN, rest)
    for found in _ASSIGNED.finditer(text):
        yield Key(*found.span(2), found[1] + HIDDEN, HIDDEN)
    for found in _WEBHOOKS.finditer(text):
        yield Key(*found.span(), found[0][:12] + HIDDEN, HIDDEN)
    for found in () if hashes else _RANDOM.finditer(text):
        if is_random(found[0]) and not _HASH_BEFORE.search(text[max(0, found.start() - 20) : found.start()]):
            yield Key(*found.span(), found[0][:4] + HIDDEN, HIDDEN)


def is_random(word: str) -> bool:
    """Returns whether a word is made of random letters: long, with digits among them, and made of short parts."""
    letters = re.sub(r"[^A-Za-z0-9]", "", word)
    if _HEX.fullmatch(letters):
        return True
    if len(letters) < RANDOM_LENGTH or letters.isalpha() or letters.isdigit() or _PINYIN.fullmatch(letters):
        return False
    return len(letters) <= RANDOM_PART * len(_PARTS.findall(word))


def is_hash_place(*names: str) -> bool:
    """Returns whether a hash, an id or a version may stand under one of these names, written in snake case."""
    return any(_HASH_PLACES.search(name) for name in names)


def is_key_name(name: str) -> bool:
    """Returns whether a key, a token or a password stands under a name: api_key, authToken, X-API-Key."""
    return _KEY_NAMES.search(snake(name)) is not None


def snake(name: str) -> str:
    """Writes authToken, X-API-Key and "Auth token" as auth_token, x_api_key and auth_token."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9_]+", "_", name).lower()
