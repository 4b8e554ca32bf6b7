"""Which addresses are on the public internet: by a table of our own, the same on each Python."""

import ipaddress

import pytest
from pack.common import address
from pack.common.address import is_public

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "99.255.255.255", "100.63.255.255", "100.128.0.1", "126.255.255.255", "128.0.0.1",
    "169.253.255.255", "172.15.255.255", "172.32.0.1", "192.0.1.1", "192.167.255.255", "192.169.0.1", "198.17.255.255",
    "198.20.0.1", "203.0.112.1", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::200e", "2001:200::1",
    "2001:4860:4860::8888", "3ffe:ffff::1", "2003::1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "64:ff9b::808:808",
]  # fmt: skip
ELSEWHERE = [
    # IPv4: this net, private, carrier's, loopback, link-local, protocols, documentation, relays, benchmarks, others.
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.1.2.3",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.8", "192.0.0.9", "192.0.0.10",
    "192.0.0.170", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "233.252.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    # IPv4 within IPv6, as it is written in many ways.
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:100.64.0.1", "::ffff:198.18.0.1", "::127.0.0.1", "::8.8.8.8",
    "::ffff:0:8.8.8.8", "::ffff:0:127.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254", "64:ff9b::100.64.0.1", "64:ff9b:1::1", "64:ff9b:1::8.8.8.8", "64:ff9b:1:fffe::7f00:1",
    "64:ff9b:0:1::8.8.8.8", "2002:7f00:1::", "2002:a00:1::1", "2002:c0a8:101::1", "2002:6440:1::1", "2002:808:808::1",
    "2001::1", "2001:0:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    # IPv6: loopback, nobody, discard, dummy, documentation, benchmarks, identifiers, local, once local, link, groups.
    "::", "::1", "100::1", "100:0:0:1::1", "2001:db8::1", "3fff::1", "3fff:fff::1", "2001:2::1", "2001:10::1",
    "2001:20::1", "2001:30::1", "2001:1::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fec0::1", "feff::1", "fe80::1",
    "febf::1", "ff02::1", "ff0e::1", "4000::1", "1fff::1", "fe80::1%eth0", "2001:db8::1%1",
]  # fmt: skip


@pytest.mark.parametrize("ip", PUBLIC)
def test_an_address_of_the_public_internet_is_public(ip):
    assert is_public(ip)


@pytest.mark.parametrize("ip", ELSEWHERE)
def test_an_address_with_another_use_is_not_public(ip):
    assert not is_public(ip)


@pytest.mark.parametrize("verdict", [True, False])
def test_what_this_python_thinks_of_an_address_does_not_count(verdict, monkeypatch):
    for kind in (ipaddress.IPv4Address, ipaddress.IPv6Address):
        for name in ("is_global", "is_private", "is_reserved", "is_multicast", "is_link_local", "is_site_local"):
            if hasattr(kind, name):
                monkeypatch.setattr(kind, name, verdict)
    assert all(map(is_public, PUBLIC))
    assert not any(map(is_public, ELSEWHERE))


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("127.255.1.2", True), ("::1", True), ("::ffff:127.0.0.1", False), ("128.0.0.1", False),
     ("localhost", False), ("127.1", False), ("::2", False), ("", False), ("0.0.0.0", False)],
)  # fmt: skip
def test_what_is_this_machine_itself_is_the_same_on_each_python(host, here, monkeypatch):
    for kind in (ipaddress.IPv4Address, ipaddress.IPv6Address):
        monkeypatch.setattr(kind, "is_loopback", not here)
    assert address.is_loopback(host) == here


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "1.2.3.4.5", "127.1", "0x7f.0.0.1", "1.2.3.04", "[::1]"])
def test_what_is_no_address_is_none(text):
    with pytest.raises(ValueError, match="does not appear to be"):
        is_public(text)


@pytest.mark.parametrize("ip", ELSEWHERE)
def test_no_clip_is_asked_for_there(ip):
    assert not address.may_be_public(ip)
