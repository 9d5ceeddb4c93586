"""Local only: no address outside loopback and a list is taken from the settings or the environment.

Belongs here: finding every address. Does not belong here: the decision (``domain.addresses``). A newcomer would get wrong: settings are
searched by the names of their fields, so one that is added later is covered without anybody thinking of it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from kalends.domain.addresses import Address, addresses, allow_list
from kalends.domain.errors import Misconfigured
from kalends.domain.places import Bucket, endpoint, place
from kalends.settings import Settings

_URL = re.compile(r"(?:.*_)?urls?")
_OTLP = re.compile(r"OTEL_EXPORTER_(?:OTLP|ZIPKIN|JAEGER)_(?:[A-Z]+_)?ENDPOINT")
_PROXY = re.compile(r"(?i:(?:https?|all)_proxy)")
_QDRANT_REST = 6333


def check(settings: Settings, *, environment: Mapping[str, str]) -> None:
    """Refuse addresses that local-only does not allow; nothing is looked up and nobody is asked.

    Raises:
        Misconfigured: an address is not allowed; the detail names the setting and says what to do.
    """
    if not settings.network.local_only:
        return
    allowed = allow_list(settings.network.allowed.split(","))
    for setting, address in named(settings, environment=environment):
        if not allowed.permits(address):
            where = address.host if address.port is None else f"{address.host}:{address.port}"
            raise Misconfigured(f"{setting}: {where} is neither loopback nor in network.allowed, and network.local_only is on")
    for issuer in settings.oidc.issuers:
        if not issuer.jwks_url and not issuer.jwks_file:
            raise Misconfigured(
                "oidc.issuers: a discovery document may lead anywhere; with network.local_only, name jwks_url or jwks_file for each issuer"
            )


def named(settings: Settings, *, environment: Mapping[str, str]) -> Iterator[tuple[str, Address]]:
    """Every address that the settings, and the variables of exporters, name; with the setting's name."""
    for setting, text in _texts(settings, ""):
        for address in addresses(text, setting=setting):
            yield setting, address
    if settings.qdrant.transport == "rest" and settings.qdrant.url and not settings.qdrant.rest_url:
        for address in addresses(settings.qdrant.url, setting="qdrant.url"):
            yield "qdrant.rest_url", Address(host=address.host, port=_QDRANT_REST)
    yield from _of_buckets(settings, environment)
    for variable, text in environment.items():
        if _OTLP.fullmatch(variable):
            for address in addresses(text, setting=variable):
                yield variable, address


def _of_buckets(settings: Settings, environment: Mapping[str, str]) -> Iterator[tuple[str, Address]]:
    """The server of a bucket as it is asked for, which is Amazon's where no other is named; and the proxies on the way to it."""
    stores = {"backup.store": settings.backup.store, "archive.store": settings.archive.store}
    buckets = [one for one in (place(text, setting=setting) for setting, text in stores.items() if text) if isinstance(one, Bucket)]
    for bucket in buckets:
        asked = endpoint(bucket, url=settings.s3.url, region=settings.s3.region, virtual=settings.s3.addressing == "virtual")
        for address in addresses(asked, setting="s3.url"):
            yield "s3.url", address
    if not buckets:
        return
    for variable, text in environment.items():
        if _PROXY.fullmatch(variable) and text:
            for address in addresses(text, setting=variable):
                yield variable, address


def _texts(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Every text in the tree whose field is called ``url``, ``urls`` or something with that ending."""
    if isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(value):
            yield from _texts(getattr(value, field.name), f"{name}.{field.name}" if name else field.name)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _texts(one, name)
    elif isinstance(value, str) and value and _URL.fullmatch(name.rpartition(".")[2]):
        yield name, value
