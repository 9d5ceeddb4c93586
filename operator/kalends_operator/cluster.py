"""The Kubernetes API as the operator talks to it: resources of ours, Secrets, events and Leases.

Belongs here: every request to the API server but kopf's own watches, and the one table from its answers to our errors. Does not belong
here: decisions. A newcomer would get wrong: Secrets are never listed or watched, only got by name, so the operator may do without those
rights; and a status is applied as one manager's fields, so what is left out of it goes away.
"""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn

import httpx2
import structlog
from lightkube import AsyncClient, KubeConfig
from lightkube.core.exceptions import ApiError, ConfigError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import Event, Secret
from lightkube.types import PatchType

from kalends.domain.errors import (
    Conflict,
    DeadlineExceeded,
    Forbidden,
    Invalid,
    KalendsError,
    Misconfigured,
    NotFound,
    Throttled,
    Unauthenticated,
    Unavailable,
)
from kalends_operator.desired.conditions import Note, stamp
from kalends_operator.desired.naming import FIELD_MANAGER, GROUP, VERSION

PLURALS: Mapping[str, str] = {
    "AgentMemory": "agentmemories",
    "MemoryBackup": "memorybackups",
    "MemoryBackupSchedule": "memorybackupschedules",
    "MemoryRestore": "memoryrestores",
    "MemoryErasure": "memoryerasures",
}
Object = dict[str, Any]

log = structlog.get_logger(__name__)

_KINDS = {kind: create_namespaced_resource(GROUP, VERSION, kind, plural) for kind, plural in PLURALS.items()}
_LONGEST_NAME = 200
_TERMINATING = "NamespaceTerminating"
"""A cause that the API server names: k8s.io/api/core/v1, NamespaceTerminatingCause."""
_BY_STATUS: Mapping[int, type[KalendsError]] = {
    400: Invalid,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Invalid,
    429: Throttled,
    504: DeadlineExceeded,
}


class Cluster:
    """The API server, with a deadline in seconds for each question; close it at the end."""

    def __init__(self, *, deadline_s: float) -> None:
        """Find the API server: in a pod by its service account, else by ``KUBECONFIG``; nothing is sent yet.

        Raises:
            Misconfigured: there is none to be found.
        """
        try:
            config = KubeConfig.from_env()
            self._client = AsyncClient(config=config, timeout=httpx2.Timeout(deadline_s), field_manager=FIELD_MANAGER, lazy=False)
        except ConfigError as error:
            raise Misconfigured("no way to the API server was found: no service account, and no KUBECONFIG") from error
        self._deadline_s = deadline_s
        self._making: Any = self._client
        """The same; its overloads know no objects that are read from mappings."""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """One resource of ours; None if there is none."""
        try:
            async with self._asking():
                return _plain(await self._client.get(_KINDS[kind], name, namespace=namespace))
        except NotFound:
            return None

    async def list(self, kind: str, namespace: str, *, labels: Mapping[str, str] | None = None) -> list[Object]:
        """The resources of a kind in a namespace."""
        async with self._asking():
            return [_plain(one) async for one in self._client.list(_KINDS[kind], namespace=namespace, labels=dict(labels or {}) or None)]

    async def create(self, kind: str, body: Object) -> None:
        """Make a resource of ours; one that is there already stays as it is."""
        try:
            async with self._asking():
                await self._making.create(_KINDS[kind].from_dict(body), namespace=body["metadata"]["namespace"])
        except Conflict:
            return

    async def apply(self, body: Object) -> None:
        """Write the fields of a resource of ours that *body* names."""
        meta = body["metadata"]
        async with self._asking():
            kind: Any = _KINDS[body["kind"]]
            await self._client.patch(kind, meta["name"], body, namespace=meta["namespace"], patch_type=PatchType.APPLY, force=True)

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Take a resource of ours away; one that is gone is gone."""
        try:
            async with self._asking():
                await self._client.delete(_KINDS[kind], name, namespace=namespace)
        except NotFound:
            return

    async def write_status(self, resource: Object, status: Mapping[str, Any]) -> None:
        """Say how a resource stands; one that is gone, or was made anew, is left alone."""
        kind, meta = resource["kind"], resource["metadata"]
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": kind,
            "metadata": {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
            "status": dict(status),
        }
        try:
            async with self._asking():
                status_kind: Any = _KINDS[kind].Status
                await self._client.patch(
                    status_kind, meta["name"], body, namespace=meta["namespace"], patch_type=PatchType.APPLY, force=True
                )
        except (NotFound, Conflict):
            return

    async def secret(self, namespace: str, name: str) -> Object | None:
        """One Secret with its data decoded; None if there is none."""
        try:
            async with self._asking():
                found = (await self._client.get(Secret, name, namespace=namespace)).to_dict()
        except NotFound:
            return None
        data = {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in (found.get("data") or {}).items()}
        return {**found, "data": data}

    async def apply_secret(self, *, owner: Object, name: str, data: Mapping[str, str], annotations: Mapping[str, str]) -> None:
        """Write a Secret that belongs to *owner* and goes with it."""
        namespace = owner["metadata"]["namespace"]
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {"app.kubernetes.io/managed-by": FIELD_MANAGER, f"{GROUP}/memory": owner["metadata"]["name"][:63].rstrip(".-")},
                "annotations": dict(annotations),
                "ownerReferences": [owned_by(owner)],
            },
            "type": "Opaque",
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
        }
        async with self._asking():
            await self._client.patch(Secret, name, body, namespace=namespace, patch_type=PatchType.APPLY, force=True)

    async def delete_secret(self, namespace: str, name: str) -> None:
        """Take a Secret away; one that is gone is gone."""
        try:
            async with self._asking():
                await self._client.delete(Secret, name, namespace=namespace)
        except NotFound:
            return

    async def tell(self, resource: Object, note: Note) -> None:
        """Say something once, as an event of *resource*; in a namespace that is going nothing can be said, and nobody could read it."""
        meta, now = resource["metadata"], stamp(datetime.now(UTC))
        body = {
            "metadata": {"name": f"{meta['name'][:_LONGEST_NAME]}.{secrets.token_hex(8)}", "namespace": meta["namespace"]},
            "involvedObject": {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": resource["kind"],
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
            },
            "reason": note.reason,
            "message": note.message[:1000],
            "type": "Warning" if note.warning else "Normal",
            "source": {"component": FIELD_MANAGER},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            async with self._asking():
                await self._making.create(Event.from_dict(body), namespace=meta["namespace"])
        except Forbidden as error:
            if not _is_going(error.__cause__):
                raise
            log.info("an event was not told, for its namespace is going", kind=resource["kind"], uid=meta["uid"], reason=note.reason)

    async def lease(self, namespace: str, name: str) -> Lease | None:
        """A Lease; None if there is none."""
        try:
            async with self._asking():
                return await self._client.get(Lease, name, namespace=namespace)
        except NotFound:
            return None

    async def write_lease(self, found: Lease | None, *, namespace: str, name: str, spec: Mapping[str, Any]) -> Lease:
        """Write a Lease over the one that was *found*; None: make it.

        Raises:
            Conflict: somebody else wrote it since.
        """
        version = None if found is None or found.metadata is None else found.metadata.resourceVersion
        written = Lease.from_dict(
            {"metadata": ObjectMeta(name=name, namespace=namespace, resourceVersion=version).to_dict(), "spec": dict(spec)}
        )
        async with self._asking():
            if found is None:
                stored: Lease = await self._making.create(written, namespace=namespace)
            else:
                stored = await self._making.replace(written, name, namespace=namespace)
        return stored

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """Let nothing of the library's pass, and nothing last longer than the deadline.

        Raises:
            KalendsError: what the API server said. DeadlineExceeded: it said nothing in time. Unavailable: it cannot be reached.
        """
        try:
            async with asyncio.timeout(self._deadline_s):
                yield
        except ApiError as error:
            _raise(error)
        except httpx2.HTTPError as error:
            raise Unavailable(f"the API server cannot be reached: {type(error).__name__}", dependency="kubernetes") from error
        except TimeoutError:
            raise DeadlineExceeded("the API server did not answer in time", dependency="kubernetes") from None


def owner_uids(resource: Mapping[str, Any]) -> set[str]:
    """The uids of those that *resource* belongs to."""
    return {str(one.get("uid", "")) for one in resource.get("metadata", {}).get("ownerReferences") or []}


def owned_by(owner: Object) -> Object:
    """What makes a thing go with its owner."""
    meta = owner["metadata"]
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": owner["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _plain(found: Any) -> Object:
    plain: Object = found.to_dict() if hasattr(found, "to_dict") else dict(found)
    return plain


def _is_going(refusal: BaseException | None) -> bool:
    """Whether the API server makes nothing in a namespace any more, because that is being deleted."""
    if not isinstance(refusal, ApiError) or refusal.status.details is None:
        return False
    return any(cause.reason == _TERMINATING for cause in refusal.status.details.causes or ())


def _raise(error: ApiError) -> NoReturn:
    code = error.status.code or 500
    kind = _BY_STATUS.get(code, Unavailable)
    raise kind(
        f"the API server says: {error.status.reason or code}: {(error.status.message or '')[:500]}", dependency="kubernetes"
    ) from error
