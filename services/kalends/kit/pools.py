"""Pools: how many places each has, how many are taken, and how many wait; so that whoever looks after a process sees what is short.

Belongs here: the account that each pool keeps of itself, and the list of those that are there. Does not belong here: what a pool does, or
where the numbers are shown. A newcomer would get wrong: the list holds no pool alive, pools of one name are added up, and it is of the
process as its threads are, not of one instance in it.
"""

import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Places, how many are taken, how many callers wait for one, and how many were ever turned away."""

    places: int
    taken: int
    waiting: int
    refused: int


class Account:
    """What a pool called *name* of *places* places notes of itself; a caller comes, begins, ends and goes."""

    __slots__ = ("__weakref__", "_callers", "_lock", "_name", "_places", "_refused", "_taken")

    def __init__(self, name: str, *, places: int) -> None:
        self._name = name
        self._places = places
        self._callers = self._taken = self._refused = 0
        self._lock = threading.Lock()
        with _noting:
            _accounts.add(self)

    @property
    def name(self) -> str:
        """The pool's name."""
        return self._name

    def come(self) -> None:
        """Somebody wants a place."""
        with self._lock:
            self._callers += 1

    def begin(self) -> None:
        """Somebody who came has one now."""
        with self._lock:
            self._taken += 1

    def end(self) -> None:
        """Somebody gave one back."""
        with self._lock:
            self._taken -= 1

    def go(self) -> None:
        """Somebody who came is gone, whether a place was had or not."""
        with self._lock:
            self._callers -= 1

    def refuse(self) -> None:
        """Somebody was turned away, because there was no place in time."""
        with self._lock:
            self._refused += 1

    def close(self) -> None:
        """There is no such pool any more."""
        with _noting:
            _accounts.discard(self)

    @property
    def usage(self) -> Usage:
        """How it is now."""
        with self._lock:
            waiting = max(0, self._callers - self._taken)
            return Usage(places=self._places, taken=self._taken, waiting=waiting, refused=self._refused)


_noting = threading.Lock()
_accounts: "weakref.WeakSet[Account]" = weakref.WeakSet()


def usage() -> Mapping[str, Usage]:
    """Every pool of this process by name, those of one name added up."""
    with _noting:
        accounts = list(_accounts)
    found: dict[str, Usage] = {}
    for account in accounts:
        one, before = account.usage, found.get(account.name, Usage(places=0, taken=0, waiting=0, refused=0))
        found[account.name] = Usage(
            places=before.places + one.places,
            taken=before.taken + one.taken,
            waiting=before.waiting + one.waiting,
            refused=before.refused + one.refused,
        )
    return dict(sorted(found.items()))
