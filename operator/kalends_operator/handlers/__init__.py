"""The handlers of kopf: thin; each asks for a look at its resource, and says what kopf should do next.

Belongs here: everything of kopf's, its settings, and what its errors mean. Does not belong here: what a look does (``reconciling``). A
newcomer would get wrong: no handler returns anything, since kopf would write it into the status; a timer never raises for good, since
kopf would stop it for good.
"""

import random
from collections.abc import Mapping
from typing import Any

import kopf

from kalends.domain.errors import Invalid, KalendsError, Occupied
from kalends_operator.cluster import PLURALS
from kalends_operator.desired.naming import FINALIZER, GROUP, VERSION
from kalends_operator.kalends import is_outage
from kalends_operator.looking import Looked
from kalends_operator.reconciling import Reconciler
from kalends_operator.settings import OperatorSettings

_CHOOSE = random.SystemRandom()
OUTAGE_S = 5.0
REFUSED_S = 30.0


def configured(settings: kopf.OperatorSettings, *, deadline_s: float) -> kopf.OperatorSettings:
    """*settings* as we want them.

    Progress goes into annotations of our own prefix: a status that follows a schema would lose it without a word. There is no limit of
    workers: with one, a hundred resources wait for each other's pauses. Events are our own, so kopf posts none.
    """
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP, key="last-handled")
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.networking.request_timeout = deadline_s
    settings.networking.connect_timeout = min(5.0, deadline_s)
    settings.execution.default_backoff = OUTAGE_S
    settings.watching.connect_timeout = min(5.0, deadline_s)
    return settings


def registry_of(reconciler: Reconciler, settings: OperatorSettings) -> kopf.OperatorRegistry:
    """The handlers of every kind of resource."""
    registry = kopf.OperatorRegistry()
    for kind in reconciler.kinds:
        _register(registry, reconciler, kind, PLURALS[kind], settings)

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        configured(settings, deadline_s=deadline_s)

    @kopf.on.login(registry=registry)
    def login(**given: Any) -> Any:
        return kopf.login_with_service_account(**given) or kopf.login_with_kubeconfig(**given)

    deadline_s = settings.deadline_s
    return registry


class _Handlers:
    """The handlers of one kind of resource."""

    def __init__(self, reconciler: Reconciler, kind: str, settings: OperatorSettings) -> None:
        self._reconciler = reconciler
        self._kind = kind
        self._poll_s = settings.poll_s

    async def changed(self, **given: Any) -> None:
        """After a change, and when the operator starts."""
        try:
            looked = await self._look(given)
        except Invalid as error:
            raise kopf.PermanentError(error.detail) from error
        except KalendsError as error:
            raise again(error) from error
        if looked.again_s is not None and not looked.gone:
            raise kopf.TemporaryError("something is under way", delay=looked.again_s)

    async def deleted(self, **given: Any) -> None:
        """Until it may go."""
        try:
            looked = await self._look(given)
        except KalendsError as error:
            raise again(error) from error
        if not looked.gone:
            raise kopf.TemporaryError("something is under way", delay=looked.again_s or self._poll_s)

    async def timed(self, **given: Any) -> None:
        """Again and again."""
        if given["meta"].get("deletionTimestamp"):
            return
        try:
            await self._look(given)
        except KalendsError as error:
            raise again(error) from error

    async def _look(self, given: Mapping[str, Any]) -> Looked:
        return await self._reconciler.look(self._kind, namespace=given["namespace"] or "", name=given["name"] or "", uid=given["uid"] or "")


def _register(registry: kopf.OperatorRegistry, reconciler: Reconciler, kind: str, plural: str, settings: OperatorSettings) -> None:
    place = (GROUP, VERSION, plural)
    name = kind.lower()
    handlers = _Handlers(reconciler, kind, settings)

    # functions, because kopf sets attributes on what it is given
    async def changed(**given: Any) -> None:
        await handlers.changed(**given)

    async def deleted(**given: Any) -> None:
        await handlers.deleted(**given)

    async def timed(**given: Any) -> None:
        await handlers.timed(**given)

    kopf.on.create(*place, id=name, registry=registry)(changed)
    kopf.on.update(*place, id=name, registry=registry)(changed)
    kopf.on.resume(*place, id=name, registry=registry)(changed)
    kopf.on.delete(*place, id=f"{name}-end", registry=registry)(deleted)
    kopf.timer(
        *place, id=f"{name}-timer", registry=registry, interval=settings.resync_s, initial_delay=lambda **_: _jittered(settings.resync_s)
    )(timed)


def again(error: KalendsError) -> kopf.TemporaryError:
    """What kopf should make of an error: try again, soon after an outage, later after a refusal."""
    soon = is_outage(error) or isinstance(error, Occupied)
    return kopf.TemporaryError(error.code, delay=_jittered(OUTAGE_S if soon else REFUSED_S))


def _jittered(seconds: float) -> float:
    """About *seconds*: a tenth more or less, so that resources do not come all at once."""
    return seconds * _CHOOSE.uniform(0.9, 1.1)


async def run(reconciler: Reconciler, settings: OperatorSettings, *, stop: Any) -> None:
    """Follow the resources until *stop* is set."""
    await kopf.operator(
        registry=registry_of(reconciler, settings),
        settings=configured(kopf.OperatorSettings(), deadline_s=settings.deadline_s),
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=list(settings.namespaces),
        stop_flag=stop,
    )
