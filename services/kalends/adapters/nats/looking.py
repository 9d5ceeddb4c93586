"""A look at a broker that changes nothing: whether it answers, lets us in and keeps what we need.

Belongs here: one connection and its questions. Does not belong here: making streams (``streams``). A newcomer would get wrong: a stream
without a leader takes nothing and reads fine nowhere, so it is told apart from one that is missing.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kalends.adapters.nats.connection import connect
from kalends.adapters.nats.options import NatsOptions
from kalends.adapters.nats.requests import Requests
from kalends.adapters.nats.tls import ClientTls


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A broker as it was found: its version, and of each stream its replicas and whether one of them leads."""

    version: str
    replicas: Mapping[str, int] = field(default_factory=dict)
    leaderless: tuple[str, ...] = ()


async def look(
    *,
    url: str,
    user: str | None,
    password: str | None,
    timeout: float,  # noqa: ASYNC109 - each question has it
    tls: ClientTls | None = None,
) -> Seen:
    """Look at the broker at *url*, within *timeout* seconds for the connection and for each answer.

    Raises:
        Unavailable, DeadlineExceeded: nobody answers, or JetStream is off. Misconfigured: the credentials are refused.
    """
    options = NatsOptions(connect_timeout=timeout, request_timeout=timeout)
    inbox = f"_INBOX_{secrets.token_hex(8)}"
    async with connect(url, name="kalends-doctor", inbox_prefix=inbox, user=user, password=password, options=options, tls=tls) as link:
        requests = Requests(link, timeout=timeout)
        await requests.open()
        replicas, leaderless = {}, []
        for stream in await _streams(requests):
            config, cluster = stream["config"], stream.get("cluster") or {}
            replicas[str(config["name"])] = int(config.get("num_replicas", 1))
            if config.get("num_replicas", 1) > 1 and not cluster.get("leader"):
                leaderless.append(str(config["name"]))
        version = link.client.connected_server_version
        return Seen(version=f"{version.major}.{version.minor}.{version.patch}", replicas=replicas, leaderless=tuple(sorted(leaderless)))


async def _streams(requests: Requests) -> list[dict[str, Any]]:
    """All streams; the broker tells a page at a time."""
    found: list[dict[str, Any]] = []
    while True:
        told = await requests.api("STREAM.LIST", json.dumps({"offset": len(found)}).encode())
        page, total = told.get("streams"), told.get("total")
        found += page if isinstance(page, list) else []
        if not page or not isinstance(total, int) or len(found) >= total:
            return found
