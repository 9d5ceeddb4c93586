"""A served model's identity and health: checked before the first use and after every outage.

Belongs here: when the check is made, what is known of the model, and the one check that all have in common, its name. Does not belong
here: what else is asked (its owner says so). A
newcomer would get wrong: a model that is not the one in the settings is no error of the caller's; to it the model is away (Unavailable),
while ``failure`` keeps what is wrong for whoever looks after the instance.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from kalends.adapters.vllm import answers
from kalends.adapters.vllm.connection import ModelConnection
from kalends.domain.errors import DeadlineExceeded, KalendsError, Misconfigured, Unavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")

RETRY_S = 5.0
"""At most one check in this time."""

_OK = 200
_MODELS_BYTES = 1 << 20


class ServedModel:
    """Keeps whether a model is the one that is wanted; *check* raises what is wrong. *now* is a clock in seconds."""

    def __init__(self, check: Callable[[], Awaitable[None]], *, dependency: str, now: Callable[[], float] = time.monotonic) -> None:
        self._check = check
        self._dependency = dependency
        self._now = now
        self._checking = asyncio.Lock()
        self._checked = False
        self._failed_at = float("-inf")
        self.failure: KalendsError | None = None
        self.failing_since: str | None = None

    async def warm(self) -> None:
        """Check now; a failure is kept in ``failure`` and the check made again later."""
        try:
            await self._ready()
        except Unavailable as error:
            log.warning("model away", model=self._dependency, reason=error.detail)

    async def again(self) -> None:
        """Check anew, whatever is known.

        Raises:
            Unavailable: it is not there, or not what is wanted.
        """
        self._checked = False
        self._failed_at = float("-inf")
        await self._ready()

    @asynccontextmanager
    async def using(self) -> AsyncIterator[None]:
        """A block of calls to the model, once it has been checked.

        Raises:
            Unavailable: it is not there, or not what is wanted; also for a Misconfigured from the block. DeadlineExceeded: from the block.
        """
        await self._ready()
        try:
            yield
        except (Unavailable, DeadlineExceeded) as error:
            # an error that says when to come again is of a model that is busy, or is left alone already; nothing new is known of it
            if error.retry_after is None:
                self._fail(error)
            raise
        except Misconfigured as error:
            self._fail(error)
            raise self._away(error) from error
        if self.failure is not None:
            log.info("model is back", model=self._dependency)
        self.failure = self.failing_since = None

    async def _ready(self) -> None:
        if self._checked:
            return
        async with self._checking:
            if self._checked:
                return
            if self.failure is not None and self._now() - self._failed_at < RETRY_S:
                raise self._away(self.failure)
            try:
                await self._check()
            except KalendsError as error:
                self._fail(error)
                self._failed_at = self._now()
                raise self._away(error) from error
            self._checked = True
            self.failure = self.failing_since = None

    def _fail(self, error: KalendsError) -> None:
        if isinstance(error, Misconfigured):
            log.error("model refused", model=self._dependency, reason=error.detail)
        # whatever comes back is looked at before it is used
        self._checked = False
        self.failure = error
        self.failing_since = self.failing_since or datetime.now(UTC).isoformat()

    def _away(self, error: KalendsError) -> Unavailable:
        return Unavailable(error.detail, dependency=self._dependency, retry_after=error.retry_after or RETRY_S)


async def check_name(connection: ModelConnection, model: str) -> answers.Served:
    """What the servers say of *model*.

    Raises:
        Misconfigured: they serve others only.
    """

    def read(status: int, content: bytes) -> answers.Served:
        served = checked(connection, status, content, lambda body: answers.decoded(body, answers.ServedModels)).data
        found = next((one for one in served if one.id == model), None)
        if found is None:
            raise Misconfigured(
                f"{connection.subject}: {model} is not served there, but {', '.join(one.id for one in served) or 'nothing'}"
            )
        return found

    return await connection.ask("/v1/models", None, read, most_bytes=_MODELS_BYTES)


def checked(connection: ModelConnection, status: int, content: bytes, read: Callable[[bytes], T]) -> T:
    """What *read* makes of *content*, if the answer is one.

    Raises:
        Invalid, Unavailable: it is none, or says nothing.
    """
    if status != _OK:
        raise connection.refusal(status)
    try:
        return read(content)
    except Unavailable as error:
        reason = error.detail
    raise connection.garbled(reason)
