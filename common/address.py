"""Which addresses are on the public internet. Nothing is looked up."""

import ipaddress
import re

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


def is_public(address: str) -> bool:
    """Returns whether an IP address is on the public internet, also where one kind is wrapped in another.

    Raises:
        ValueError: It is no IP address.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if any(ip in network for network in _WRAPPED):
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return (ip.version == 4 or ip in _GLOBAL) and not any(ip in network for network in _SET_APART)


def is_loopback(host: str) -> bool:
    """Returns whether a host is this machine itself, written as a number."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(ip in network for network in _LOOPBACK)


def may_be_public(host: str) -> bool:
    """Returns whether a host is a public IP address, or a name that may lead to one."""
    try:
        return is_public(host)
    except ValueError:
        name = host.lower().rstrip(".")
        if ":" in name or re.fullmatch(r"[\d.]+", name):  # a connection takes it for a number and asks no resolver
            return False
        return "." in name and not name.endswith((".local", ".internal", ".localhost"))
