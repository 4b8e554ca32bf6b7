"""What a text tells of people, and of where they and their machines are: positions, contacts, accounts, addresses."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from private_keys import snake

_DEGREES = r"-?\d{1,3}\.\d{3,}"
_LAT, _LON = r"(?:[0-8]?\d|90)\.\d{3,}", r"(?:1[0-7]\d|\d?\d|180)\.\d{3,}"
_FILES = r"(?:png|jpe?g|webp|gif|mp4|mov|webm|safetensors|gguf|pth?|json|txt|py|js)\b"  # cat@2x.png is no e-mail
_TUNNELS = (  # services that give a machine a name, or rent one out
    r"ts\.net|ngrok(?:-free)?\.(?:app|dev|io)|trycloudflare\.com|loca\.lt|gradio\.live|proxy\.runpod\.net"
    r"|duckdns\.org|modal\.run|app\.github\.dev"
)

# The order matters: what is found first is hidden from the next.
_PATTERNS = [
    # Latitude and longitude: in ISO 6709, as in a phone's clip.
    ("position", r"(?<![\w.)\]])[+-](?:[0-8]\d|90)\.\d{3,}[+-](?:0\d|1[0-7])\d\.\d{3,}"
                 r"(?:[+-]\d+(?:\.\d+)?)?(?:CRS\w+)?(?:/|(?![\w+-]|\.\d))"),
    # In XMP, and as a person or a map's address writes them.
    ("position", r"(?<=GPS)(?P<kept>(?:Dest)?(?:Latitude|Longitude)\W{1,3})\d[\d.,]*[NSEW]?"),
    ("position", rf"{_LAT} ?°? ?[NS]\b[,; ]*{_LON} ?°? ?[EWO]\b"),
    ("position", r"(?<!\w)[NSEWO] ?\d{1,3} ?° ?\d{1,2}(?:\.\d+)? ?['′’]"),  # noqa: RUF001
    ("position", rf"(?i:(?P<kept>\bpoint ?z? ?\( ?)){_DEGREES} {_DEGREES}"),
    ("position", rf"(?P<kept>#map=)\d{{1,2}}/{_DEGREES}/{_DEGREES}"),
    ("position", r"(?<=maps\.app\.goo\.gl/)\w+|(?<=goo\.gl/maps/)\w+"),
    ("position", r"(?<![\w+])[2-9CFGHJMPQRVWX]{8}\+[2-9CFGHJMPQRVWX]{2,3}(?![\w+])"),  # a plus code
    ("position", r"\d{1,3} ?° ?\d{1,2} ?['′’](?: ?\d{1,2}(?:\.\d+)? ?(?:\"|″|”|''))? ?[NSEWO]\b"),  # noqa: RUF001
    ("position", rf"(?i:(?P<kept>\b(?:lat(?:itude)?|lon(?:g(?:itude)?)?|lng)[\"']? ?[:=] ?)){_DEGREES}"),
    ("position", rf"(?i:(?P<kept>\bgeo:|[?&](?:q|ll|query|center|daddr|sll)=|/@)){_DEGREES},{_DEGREES}"),
    ("position", r"(?<![\w.,|-])(?<![,|\d] )-?\d{1,2}\.\d{5,}, ?-?\d{1,3}\.\d{5,}(?! ?[\d.,|])"),
    # Contacts.
    ("contact", rf"(?<![\w.+-])[\w.+-]{{1,64}}@(?!(?:[\w-]+\.){{1,5}}{_FILES})"
                rf"[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{0,4}}\.[A-Za-z]{{2,24}}\b"),
    ("contact", r"(?<![\w.+])\+[1-9](?:[ ()/-]{0,2}\d){8,14}(?![\w.])"),
    ("contact", r"(?<![\w.])\(\d{3}\) ?\d{3}-\d{4}(?![\w.-])|(?<![\w.-])\d{3}([.-])\d{3}\1\d{4}(?![\w.-])"),
    ("contact", r"(?<=wa\.me/)\d{8,15}\b"),
    # Accounts.
    ("account", r"\b(?P<iban>[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?)\b"),
    ("account", r"(?<![\w.-])(?P<card>\d{4}(?:[ -]\d{4}){3}|\d{4}[ -]\d{6}[ -]\d{5})(?![\w.-])"),
    ("account", r"(?<![\w.-])\d{3}-\d{2}-\d{4}(?![\w.-])"),  # of social security
    # Machines: addresses of a private network, any address with a port or in a URL, and network cards.
    ("machine", r"(?<![\w.])(?:10(?:\.\d{1,3}){3}|192\.168(?:\.\d{1,3}){2}|172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2})"
                r"(?![\w.]*\w)"),
    ("machine", r"(?:(?<=://)(?!127\.|0\.)\d{1,3}(?:\.\d{1,3}){3}|(?<![\w.])(?!127\.|0\.)\d{1,3}(?:\.\d{1,3}){3}(?=:\d))"),
    ("machine", r"(?<=://)(?!\[::1\])\[[0-9A-Fa-f:.]{2,45}\]"),
    ("machine", rf"(?<=://)[\w.-]+\.(?:local|lan|home|internal|intranet|onion|{_TUNNELS})\b"),
    ("machine", r"(?<![\w:-])(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}(?![\w:-])"),
]  # fmt: skip
_COMPILED = [(kind, re.compile(pattern)) for kind, pattern in _PATTERNS]
_POSITION_NAMES = re.compile(r"(?:^|_)(?:location(?:_[a-z]{3})?|iso6709)$")
_NUMBERS = re.compile(r"[+-]\d+(?:\.\d*)?[+-]\d.*")  # as coarse as a phone may write it
_DEGREE_NAMES = re.compile(r"(?:^|_)(?:gps\w*|lat(?:itude)?|lon(?:g(?:itude)?)?|lng)$")

_PHONE_NAMES = re.compile(r"(?:^|_)(?:phone|mobile|telephone|tel|whatsapp)(?:_?(?:number|no))?$")


class Told(NamedTuple):
    """What a text tells: its kind, where it begins and ends; `kept` is the label before it that stays."""

    kind: str
    begin: int
    end: int
    kept: str


def told(text: str, name: str = "") -> Iterator[Told]:
    """Yields what a text tells of people and their machines; `name` is what it stands under, in snake case."""
    if _POSITION_NAMES.search(name) and _NUMBERS.fullmatch(text):
        yield Told("position", 0, len(text), "")
    for kind, pattern in _COMPILED:
        for found in pattern.finditer(text):
            groups = found.groupdict()
            if is_account(groups.get("iban"), groups.get("card")):
                yield Told(kind, *found.span(), groups.get("kept") or "")


def is_account(iban: str | None, card: str | None) -> bool:
    """Returns whether the check digits of an account's number hold; of what is none there are none to hold."""
    if iban:
        digits = re.sub(r"\s", "", iban)
        return int("".join(str(int(letter, 36)) for letter in digits[4:] + digits[:4])) % 97 == 1
    if card:
        digits = [int(digit) for digit in card if digit.isdigit()][::-1]
        return sum(digits[::2]) % 10 == -sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2]) % 10
    return True


def private_number(value: float, name: str) -> str:
    """Returns what kind of private thing a number is by its name: a position, a contact, or "" for none."""
    name = snake(name)
    if isinstance(value, float) and value % 1 and _DEGREE_NAMES.search(name):
        return "position"
    return "contact" if value >= 1e6 and _PHONE_NAMES.search(name) else ""
