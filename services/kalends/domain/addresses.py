"""Addresses: which may be spoken to where only loopback and a list are allowed.

Belongs here: reading addresses and the list, and the decision. Does not belong here: which settings hold addresses (``app.network``). A
newcomer would get wrong: a name is never looked up to decide, for that would already be a question to somebody outside; it stands in the
list as it is written, or it is not allowed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from kalends.domain.errors import Misconfigured

_LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A host in lower case, and a port, or None where none was written."""

    host: str
    port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowList:
    """What may be spoken to beside loopback: names with any port or one, and networks."""

    names: frozenset[Address] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def permits(self, address: Address) -> bool:
        """Whether *address* may be spoken to."""
        if is_loopback(address.host) or address in self.names or Address(host=address.host) in self.names:
            return True
        number = _number(address.host)
        return number is not None and any(number.version == network.version and number in network for network in self.networks)


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine: a number of loopback, or a name that every resolver gives to it (RFC 6761)."""
    number = _number(host)
    return number.is_loopback if number is not None else host in _LOOPBACK_NAMES


def _number(host: str) -> IPv4Address | IPv6Address | None:
    """The number that *host* is; None for a name."""
    try:
        number = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = number.ipv4_mapped if isinstance(number, IPv6Address) else None
    return mapped or number


def allow_list(entries: Iterable[str]) -> AllowList:
    """The list that *entries* say: ``host``, ``host:port``, an address or a network such as ``10.0.0.0/8``.

    Raises:
        Misconfigured: an entry is none of these.
    """
    names: set[Address] = set()
    networks: list[IPv4Network | IPv6Network] = []
    for entry in (one.strip() for one in entries):
        if not entry:
            continue
        try:
            networks.append(ip_network(entry.strip("[]") if entry.endswith("]") else entry))
        except ValueError:
            if "/" in entry:
                raise Misconfigured(f"network.allowed: {entry!r} is no network; write a.b.c.d/n with nothing behind the n bits") from None
            names.add(_read(entry, setting="network.allowed"))
    return AllowList(names=frozenset(names), networks=tuple(networks))


def addresses(text: str, *, setting: str) -> Sequence[Address]:
    """The addresses in a setting's *text*: URLs or ``host:port`` with commas between.

    Raises:
        Misconfigured: one cannot be read.
    """
    return [_read(one.strip(), setting=setting) for one in text.split(",") if one.strip()]


def _read(text: str, *, setting: str) -> Address:
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise Misconfigured(f"{setting}: an address cannot be read; write a URL, host or host:port")
    return Address(host=host.rstrip("."), port=port)
