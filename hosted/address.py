"""Which addresses are on the public internet, and how one is shown that may hold a token. Nothing is looked up."""

import ipaddress
import re
import urllib.parse

from ..common.redact import HIDDEN, mask
from .errors import RequestError

# What IANA sets apart, and what was: Python's own opinion (`is_global`) differs from one version to the next.
# 2001::/23 and 2002::/16 are tunnels, mostly.
_SET_APART = [
    ipaddress.ip_network(each)
    for each in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
]
_LOOPBACK = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
_GLOBAL = ipaddress.ip_network("2000::/3")  # all of IPv6 that is given out
# IPv4 in IPv6, in the only two forms in which a system names a public host: the inner address counts.
_WRAPPED = [ipaddress.ip_network("::ffff:0:0/96"), ipaddress.ip_network("64:ff9b::/96")]
_HUGGING_FACE_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


def is_public(address: str) -> bool:
    """Says whether an IP address is on the public internet, also where one kind is wrapped in another.

    Raises:
        ValueError: It is no IP address.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if any(ip in network for network in _WRAPPED):
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return (ip.version == 4 or ip in _GLOBAL) and not any(ip in network for network in _SET_APART)


def is_loopback(host: str) -> bool:
    """Says whether a host is this machine itself, written as a number."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(ip in network for network in _LOOPBACK)


def may_be_public(host: str) -> bool:
    """Says whether a host is a public IP address, or a name that may lead to one."""
    try:
        return is_public(host)
    except ValueError:
        name = host.lower().rstrip(".")
        if ":" in name or re.fullmatch(r"[\d.]+", name):  # a connection takes it for a number and asks no resolver
            return False
        return "." in name and not name.endswith((".local", ".internal", ".localhost"))


def check_url(url: str) -> None:
    """Checks the form of a LoRA's address. Nothing is looked up or fetched.

    Raises:
        RequestError: The provider could not, or should not, fetch it.
    """
    if HIDDEN in url:
        raise RequestError(f"The token of the LoRA's address was masked, got {_named(url)}. Paste the address again.")
    if not _is_fetched(url):
        raise RequestError(
            "A hosted LoRA needs the public https address of a .safetensors file, or a Hugging Face id such as "
            f"owner/repository, got {_named(url)}. Files on this machine must be uploaded somewhere first."
        )


def _is_fetched(url: str) -> bool:
    if _HUGGING_FACE_ID.fullmatch(url):
        return True
    if re.search(r"[\s\x00-\x1f\\#]", url):  # what follows a # is not sent, and may be a token
        return False
    try:
        parts = urllib.parse.urlsplit(url)
        public = parts.scheme == "https" and may_be_public(parts.hostname or "")
        return public and not parts.username and len(parts.path) > 1
    except ValueError:
        return False


def shown(url: str) -> str:
    """Returns a LoRA's address as people may see it: without a token, wherever it holds one."""
    return mask(url) if _is_fetched(url) else _named(url)


def _named(url: str) -> str:
    """Names an address that may hold a token anywhere: by what surely is none."""
    unnamed = "something else" if url else "nothing"
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # which is no number where a password holds a slash
    except ValueError:
        return unnamed
    known = parts.scheme in ("http", "https", "ftp") and re.fullmatch(r"[\w-]+(\.[\w-]+)+", host)
    return f"one at {parts.scheme}://{host}" if known else unnamed
