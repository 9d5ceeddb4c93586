"""Probes and metrics: what orchestrators and monitoring ask, on a port of its own and without a credential.

Belongs here: ``/livez``, ``/readyz``, ``/metrics``. Does not belong here: deciding how a dependency is (each service's ``health``). A
newcomer would get wrong: liveness looks at nothing outside the process, or a broken database would restart every healthy pod.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, get
from prometheus_client.exposition import choose_encoder

from kalends.edge.metrics import Metrics
from kalends.edge.services import Health, Service

_UP = {"up": 1.0, "degraded": 0.5, "down": 0.0}
_NO_STORE = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """One dependency in the answer of ``/readyz``."""

    name: str
    state: str
    since: str
    required: bool
    detail: str
    next_step: str


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether requests should be sent here; ``missing`` names the required dependencies that are down."""

    ready: bool
    missing: Sequence[str]
    dependencies: Sequence[Dependency]


def build_ops(services: Sequence[Service], *, metrics: Metrics, accepting: Callable[[], bool] = lambda: True) -> Litestar:
    """The operations application; *accepting* is false before everything runs and while the process drains."""

    @get("/livez", sync_to_thread=False)
    def live() -> Response[bytes]:
        # That this runs at all is the proof: it runs on the loop that serves everything else.
        return Response(b'{"live":true}', media_type="application/json", headers=_NO_STORE)

    @get("/readyz", sync_to_thread=False)
    def ready() -> Response[bytes]:
        found = readiness(_health(services), accepting=accepting())
        return Response(
            msgspec.json.encode(found), status_code=200 if found.ready else 503, media_type="application/json", headers=_NO_STORE
        )

    @get("/metrics", sync_to_thread=False)
    def scrape(request: Request[Any, Any, Any]) -> Response[bytes]:
        for item in _health(services):
            metrics.dependency_up.labels(item.name).set(_UP.get(item.state, 0.0))
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics.registry), headers={"content-type": content_type, **_NO_STORE})

    return Litestar(route_handlers=[live, ready, scrape], openapi_config=None, logging_config=None)


def readiness(health: Sequence[Health], *, accepting: bool) -> Readiness:
    """The decision: ready while every required dependency is not down and the process takes requests."""
    missing = [item.name for item in health if item.required and item.state == "down"]
    if not accepting:
        missing.append("listener")
    return Readiness(
        ready=not missing,
        missing=missing,
        dependencies=[
            Dependency(
                name=item.name,
                state=item.state,
                since=item.since,
                required=item.required,
                detail=item.detail,
                next_step=item.next_step,
            )
            for item in health
        ],
    )


def _health(services: Sequence[Service]) -> list[Health]:
    return [item for service in services for item in service.health()]
