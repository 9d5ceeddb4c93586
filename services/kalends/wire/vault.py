"""Data keys at hand: one per session, wrapped in the key store, unwrapped and cached here.

Belongs here: finding or making a session's key. Does not belong here: what is sealed with it (``envelopes``). A newcomer would get wrong: a
key that cannot be found means "erased", which is an answer, not an error.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence

from kalends.domain.errors import Damaged, KalendsError
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.kit import aead
from kalends.kit.coalescing import Coalescer
from kalends.ports.kek import Bound, Wrapper
from kalends.ports.keys import Keys

_Place = tuple[Scope, str]
_Opened = aead.Box | KalendsError
_TOGETHER = 500
_NOWHERE = Scope(Tenant("probe"), MemoryName("probe"))
_CACHED = 50_000
"""Unwrapped keys kept at hand; about 1 KB each with their ciphers, so 50 MB at most."""


def key_reference(scope: Scope, session_id: str) -> str:
    """Which key seals a session: 32 hex digits that say nothing of its name."""
    return hashlib.blake2b(f"{scope.key}session\0{session_id}".encode(), digest_size=16).hexdigest()


def node_key_reference(scope: Scope, node_id: str) -> str:
    """Which key seals a node of the calendar that stands above several sessions."""
    return hashlib.blake2b(f"{scope.key}node\0{node_id}".encode(), digest_size=16).hexdigest()


class Vault:
    """Boxes (keys ready for use) by scope and reference."""

    def __init__(self, *, keys: Keys, wrapper: Wrapper) -> None:
        self._keys = keys
        self._wrapper = wrapper
        self._boxes: OrderedDict[_Place, aead.Box] = OrderedDict()
        # Each batch that the key store writes is synced, and costs it as much as a batch of events: concurrent requests share one.
        self._lookups = Coalescer(self._look_up, limit=_TOGETHER)
        self._creations = Coalescer(self._create, limit=_TOGETHER)

    async def boxes(self, scope: Scope, references: Collection[str]) -> Mapping[str, aead.Box]:
        """The boxes that exist among *references*.

        Raises:
            Unavailable, DeadlineExceeded: the key store or the keeper of the key-encryption key does not answer, or does not have it.
            Damaged: a key does not unwrap.
        """
        found, damaged = await self.boxes_that_open(scope, references)
        for error in damaged.values():
            raise error
        return found

    async def boxes_that_open(self, scope: Scope, references: Collection[str]) -> tuple[dict[str, aead.Box], dict[str, Damaged]]:
        """The boxes that exist among *references*, and why others, which exist too, do not unwrap.

        Raises:
            Unavailable, DeadlineExceeded: the key store or the keeper of the key-encryption key does not answer, or does not have it.
        """
        found, missing = self._cached(scope, references)
        damaged: dict[str, Damaged] = {}
        if missing:
            opened = await self._lookups.ask([(scope, reference) for reference in missing])
            for reference in missing:
                one = opened.get((scope, reference))
                if isinstance(one, Damaged):
                    damaged[reference] = one
                elif isinstance(one, KalendsError):
                    raise one
                elif one is not None:
                    found[reference] = self._keep(scope, reference, one)
        return found, damaged

    async def boxes_for_writing(self, scope: Scope, references: Collection[str]) -> Mapping[str, aead.Box]:
        """The boxes of *references*, made and durably stored where there were none.

        What is not at hand is taken for new, which it mostly is; the store answers with the key that is there, if there is one.

        Raises:
            Unavailable, DeadlineExceeded: the key store does not answer.
        """
        found, missing = self._cached(scope, references)
        if missing:
            opened = await self._creations.ask([(scope, reference) for reference in missing])
            for reference in missing:
                one = opened[scope, reference]
                if isinstance(one, KalendsError):
                    raise one
                found[reference] = self._keep(scope, reference, one)
        return found

    async def _look_up(self, places: Sequence[_Place]) -> Mapping[_Place, _Opened]:
        stored: dict[_Place, bytes] = {}
        for scope, references in _by_scope(places).items():
            found = await self._keys.get(scope, references)
            stored.update({(scope, reference): wrapped for reference, wrapped in found.items()})
        return await self._opened(stored)

    async def _create(self, places: Sequence[_Place]) -> Mapping[_Place, _Opened]:
        fresh = {place: aead.new_key() for place in places}
        wrapped = await self._wrapper.wrap([Bound(key=key, context=context(*place)) for place, key in fresh.items()])
        ours = dict(zip(fresh, wrapped, strict=True))
        stored: dict[_Place, bytes] = {}
        for scope, references in _by_scope(places).items():
            given = await asyncio.shield(self._keys.create(scope, {reference: ours[scope, reference] for reference in references}))
            stored.update({(scope, reference): one for reference, one in given.items()})
        found: dict[_Place, _Opened] = {place: aead.Box(fresh[place]) for place, one in stored.items() if one == ours[place]}
        return {**found, **await self._opened({place: one for place, one in stored.items() if place not in found})}

    async def _opened(self, stored: Mapping[_Place, bytes]) -> dict[_Place, _Opened]:
        if not stored:
            return {}
        keys = await self._wrapper.unwrap([Bound(key=wrapped, context=context(*place)) for place, wrapped in stored.items()])
        return {place: key if isinstance(key, KalendsError) else aead.Box(key) for place, key in zip(stored, keys, strict=True)}

    async def probe(self) -> None:
        """Ask for a key that nobody has; raises what finding a key would raise while the key store is away."""
        await self._keys.get(_NOWHERE, ["0" * 32])

    async def unusable(self, scope: Scope, wrapped: Mapping[str, bytes]) -> list[str]:
        """Which of these *wrapped* keys do not unwrap, if only because their key-encryption key is not here; none is remembered.

        Raises:
            Unavailable, DeadlineExceeded: the keeper of the key-encryption key does not answer.
        """
        keys = await self._wrapper.unwrap([Bound(key=key, context=context(scope, reference)) for reference, key in wrapped.items()])
        return [reference for reference, key in zip(wrapped, keys, strict=True) if isinstance(key, KalendsError)]

    def forget(self, scope: Scope, references: Collection[str]) -> None:
        """Drop cached boxes, because their keys were destroyed."""
        for reference in references:
            self._boxes.pop((scope, reference), None)

    def clear(self) -> None:
        """Drop every cached box, because some keys may have been destroyed elsewhere."""
        self._boxes.clear()

    def _cached(self, scope: Scope, references: Collection[str]) -> tuple[dict[str, aead.Box], list[str]]:
        found, missing = {}, []
        for reference in references:
            box = self._boxes.get((scope, reference))
            if box is None:
                missing.append(reference)
            else:
                self._boxes.move_to_end((scope, reference))
                found[reference] = box
        return found, missing

    def _keep(self, scope: Scope, reference: str, box: aead.Box) -> aead.Box:
        self._boxes[scope, reference] = box
        while len(self._boxes) > _CACHED:
            self._boxes.popitem(last=False)
        return box


def _by_scope(places: Sequence[_Place]) -> dict[Scope, list[str]]:
    """The references of each scope, each once."""
    found: dict[Scope, dict[str, None]] = {}
    for scope, reference in places:
        found.setdefault(scope, {})[reference] = None
    return {scope: list(references) for scope, references in found.items()}


def context(scope: Scope, reference: str) -> bytes:
    """The place that a wrapped key is bound to."""
    return f"key\0{scope.key}\0{reference}".encode()
