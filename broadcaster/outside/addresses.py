"""Which addresses we never ask: whoever names a URL must not reach into our network through us.

The ranges are IANA's special-purpose registries (iana-ipv4-special-registry, iana-ipv6-special-registry), all
that is not globally reachable, and every form that carries an IPv4 address inside an IPv6 one: what such an
address reaches is another network's choice.
"""

from __future__ import annotations

import ipaddress
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_V4: Final = {
    "0.0.0.0/8": "this host",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by a carrier (or a cloud's own)",
    "127.0.0.0/8": "this host",
    "168.63.129.16/32": "a cloud's own",
    "169.254.0.0/16": "link-local (or a cloud's own)",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "reserved for examples",
    "192.88.99.0/24": "reserved",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "reserved for benchmarks",
    "198.51.100.0/24": "reserved for examples",
    "203.0.113.0/24": "reserved for examples",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
_V6: Final = {
    "::1/128": "this host",
    "::/128": "this host",
    "::ffff:0:0/96": "an IPv4 address in IPv6's form",
    "::/96": "an IPv4 address in IPv6's form",
    "64:ff9b::/96": "an IPv4 address behind a translator",
    "64:ff9b:1::/48": "an IPv4 address behind a translator",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "private",
    "ff00::/8": "multicast",
    "2001::/23": "reserved (Teredo and others)",
    "2001:db8::/32": "reserved for examples",
    "2002::/16": "an IPv4 address behind a tunnel",
    "3fff::/20": "reserved for examples",
}
_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
_RANGES_V4: Final = tuple((ipaddress.IPv4Network(net), why) for net, why in _V4.items())
_RANGES_V6: Final = tuple((ipaddress.IPv6Network(net), why) for net, why in _V6.items())


def forbidden_because(address: Address) -> str:
    """Say what an address is that requests must not go to; "" for a public one."""
    if isinstance(address, ipaddress.IPv4Address):
        return next((why for network, why in _RANGES_V4 if address in network), "")
    bare = ipaddress.IPv6Address(int(address))  # without a zone, which would hide it from the table
    found = next((why for network, why in _RANGES_V6 if bare in network), "")
    return found or ("" if bare in _GLOBAL_V6 else "reserved")
