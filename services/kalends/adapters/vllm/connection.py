"""The connection to the servers of one model: deadline, replicas, one more try, bulkhead, circuit breaker.

Belongs here: how a question travels and what an answer may weigh. Does not belong here: what is asked, or whether an answer makes sense. A
newcomer would get wrong: neither question nor answer is ever part of an error or a log line, because both are somebody's memory; and the
environment's proxies are ignored, so that memory goes to the configured servers and nowhere else.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec

from kalends.adapters.vllm.failures import HTTP_ERRORS, NEVER_SENT, refusal, translate
from kalends.adapters.vllm.replicas import Replica, Replicas
from kalends.domain.errors import DeadlineExceeded, Invalid, KalendsError, Misconfigured, Unavailable
from kalends.kit.breaker import Breaker, CircuitOpen, Trial
from kalends.kit.bulkhead import Bulkhead, Full

T = TypeVar("T")
Read = Callable[[int, bytes], T]
"""From an answer's HTTP status and body (empty unless the status is 200) to a value; raises errors of ours."""

FAILURES = 5
"""Failures in a row after which a model is left alone."""

PAUSE_S = 5.0
"""How long a model is left alone, and a replica that cannot be reached."""

SLOW_S = 1.0
"""A caller that leaves after so long without an answer has seen a failure: search waits less long than a model may take, and a server that
swallows every packet would otherwise never open the breaker."""

CONNECT_S = 1.0
_TRIES = 2
_KEEP_S = 2.0
"""Shorter than the five seconds after which vLLM closes a connection that nobody uses, else one may be closed under our question."""


class ModelConnection:
    """Asks the servers of one model; *subject* is what it is in words, *dependency* the name that its outage has.

    *deadline_s* is for each answer as a whole, the wait for one of *concurrency* places included. Urgent questions have as many places of
    their own, so that they never wait for background work.
    """

    def __init__(
        self,
        roots: Sequence[str],
        *,
        dependency: str,
        subject: str,
        deadline_s: float,
        concurrency: int,
        key: str = "",
        verify: ssl.SSLContext | bool = True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.dependency = dependency
        self.subject = subject
        self._deadline_s = deadline_s
        self._slow_s = min(SLOW_S, deadline_s / 2)
        self._now = now
        self._replicas = Replicas(roots, out_s=PAUSE_S, now=now)
        self._breaker = Breaker(failures=FAILURES, pause_s=PAUSE_S, now=now)
        self._places = {urgent: Bulkhead(concurrency, name=f"{dependency}-served{'-urgent' if urgent else ''}") for urgent in (False, True)}
        # no compression: what a few bytes may unfold into has no limit
        headers = {"user-agent": "kalends", "accept": "application/json", "accept-encoding": "identity"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        self._client = httpx.AsyncClient(
            headers=headers,
            # the deadline is kept here; httpx's own would only be counted between two reads
            timeout=httpx.Timeout(None, connect=min(CONNECT_S, deadline_s)),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=2 * concurrency, keepalive_expiry=_KEEP_S),
            verify=verify,
            trust_env=False,
            follow_redirects=False,
        )

    async def ask(self, path: str, question: object, read: Read[T], *, most_bytes: int, urgent: bool = False) -> T:
        """What *read* makes of the answer to *question* (JSON; None: a GET) at *path*, which may have *most_bytes* bytes.

        Raises:
            Unavailable: no server can be reached, none has a place, all fail, or the circuit is open. DeadlineExceeded: no answer in time.
            KalendsError: what *read* raises; where it says Misconfigured or Invalid another replica is asked first, if there is one, and a
            refusal stands where that one cannot answer.
        """
        self._admit()
        body = None if question is None else msgspec.json.encode(question)
        # at most half of the time is spent in the queue, so that a call that is made can still be answered
        wait_s, end = self._deadline_s / 2, asyncio.get_running_loop().time() + self._deadline_s
        try:
            async with self._places[urgent].place(wait_s=wait_s):
                return await self._counted(path, body, read, most_bytes, end)
        except Full as error:
            raise Unavailable(f"{self.subject} is busy", dependency=self.dependency, retry_after=wait_s) from error

    async def close(self) -> None:
        """End the connections."""
        await self._client.aclose()

    def refusal(self, status: int) -> KalendsError:
        """The error that an answer with *status* is."""
        return refusal(status, dependency=self.dependency, subject=self.subject)

    def garbled(self, why: str) -> Unavailable:
        """The error that an answer is which says nothing; *why* quotes nothing of it."""
        return Unavailable(f"{self.subject} answers with something else: {why}", dependency=self.dependency)

    def _admit(self) -> None:
        """Fail before anything is waited for."""
        wait_s = self._breaker.wait_s
        if wait_s > 0:
            raise self._left_alone(wait_s)

    def _left_alone(self, wait_s: float) -> Unavailable:
        detail = f"{self.subject} failed {FAILURES} times in a row and is left alone for {wait_s:.1f} s"
        return Unavailable(detail, dependency=self.dependency, retry_after=wait_s)

    async def _counted(self, path: str, body: bytes | None, read: Read[T], most_bytes: int, end: float) -> T:
        """One call that ends at *end*, on the loop's clock; the breaker is told how."""
        try:
            trial = self._breaker.begin()
        except CircuitOpen as error:
            raise self._left_alone(error.wait_s) from error
        began = self._now()
        try:
            async with asyncio.timeout_at(end):
                answer = await self._answer(path, body, read, most_bytes)
        except TimeoutError as error:
            trial.failed()
            raise DeadlineExceeded(f"no answer from {self.subject} within {self._deadline_s:g} s", dependency=self.dependency) from error
        except BaseException as error:
            _tell(trial, error, slow=self._now() - began >= self._slow_s)
            raise
        trial.succeeded()
        return answer

    async def _answer(self, path: str, body: bytes | None, read: Read[T], most_bytes: int) -> T:
        """Ask one replica, and once more if nothing was sent, or if it refuses or serves something else and there is another."""
        replica = first = self._replicas.choose()
        refused: Invalid | None = None
        for left in reversed(range(_TRIES)):
            try:
                answer = await self._answer_of(replica, path, body, read, most_bytes)
            except NEVER_SENT as error:
                if not left:
                    raise refused or self._translated(error) from error
            except KalendsError as error:
                if refused is not None:
                    raise refused from error
                if not left or not self._may_another_answer(error, replica):
                    raise
                refused = error if isinstance(error, Invalid) else None
            else:
                if refused is not None:
                    self._replicas.leave_out(first)  # what another answers was no fault of the question
                return answer
            replica = self._replicas.choose(but=replica)
        raise Unavailable(f"{self.subject} was not asked", dependency=self.dependency)

    async def _answer_of(self, replica: Replica, path: str, body: bytes | None, read: Read[T], most_bytes: int) -> T:
        """Ask this one; where it is at fault it is left out for a while. What was never sent is raised as it is."""
        began = self._now()
        try:
            with self._replicas.asking(replica):
                return read(*await self._exchange(replica.root + path, body, most_bytes))
        except NEVER_SENT:
            self._replicas.leave_out(replica)
            raise
        except tuple(HTTP_ERRORS) as error:
            self._replicas.leave_out(replica)
            raise self._translated(error) from error
        except Invalid:
            raise  # a refused question is no fault of the replica's
        except KalendsError:
            self._replicas.leave_out(replica)
            raise
        except asyncio.CancelledError:
            if self._now() - began >= self._slow_s:
                self._replicas.leave_out(replica)
            raise

    def _may_another_answer(self, error: KalendsError, replica: Replica) -> bool:
        """Whether *error* may be of this replica alone: it serves something else, or was started with a smaller limit than the others."""
        if isinstance(error, Invalid):
            # one that is left out has nothing to say against a refusal, and would have the question come back for as long as it is away
            return self._replicas.has_other_than(replica)
        return isinstance(error, Misconfigured) and len(self._replicas) > 1

    def _translated(self, error: Exception) -> KalendsError:
        return translate(error, dependency=self.dependency, subject=self.subject)

    async def _exchange(self, url: str, body: bytes | None, most_bytes: int) -> tuple[int, bytes]:
        """Status and body of the answer; no body if it is none of a success."""
        received = bytearray()
        method, headers = ("GET", None) if body is None else ("POST", {"content-type": "application/json"})
        async with self._client.stream(method, url, content=body, headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                return response.status_code, b""
            async for chunk in response.aiter_bytes():
                received += chunk
                if len(received) > most_bytes:
                    raise self.garbled(f"longer than {most_bytes} bytes")
        return response.status_code, bytes(received)


def open_connection(
    urls: str,
    *,
    setting: str,
    dependency: str,
    subject: str,
    deadline_s: float,
    concurrency: int,
    key_file: str = "",
    ca_file: str = "",
    strip: str = "",
) -> ModelConnection:
    """A connection to the servers in *urls*, which stand with commas between; *setting* names them in an error. Nothing is sent yet.

    *strip* is taken from the end of each, so that it may be given or not.

    Raises:
        Misconfigured: there is no URL, or one that is none; or a file cannot be read or does not hold what it should.
    """
    return ModelConnection(
        [_root(one.strip(), setting=setting).removesuffix(strip) for one in urls.split(",")],
        dependency=dependency,
        subject=subject,
        deadline_s=deadline_s,
        concurrency=concurrency,
        key=_key(key_file, subject=subject) if key_file else "",
        verify=_trusted(ca_file, subject=subject) if ca_file else True,
    )


def _root(url: str, *, setting: str) -> str:
    wrong = f"{setting} must hold http or https URLs without user or password, such as http://127.0.0.1:8000, with commas between"
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Misconfigured(wrong) from error
    if (
        parts.scheme not in {"http", "https"}
        or not parts.host
        or parts.userinfo
        or parts.query
        or parts.fragment
        or any(map(str.isspace, url))
    ):
        raise Misconfigured(wrong)
    return url.rstrip("/")


def _trusted(path: str, *, subject: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=Path(path).expanduser())
    except OSError as error:  # an SSLError is one too
        raise Misconfigured(f"the file {path} does not hold the certificates that sign those of {subject}") from error


def _key(path: str, *, subject: str) -> str:
    try:
        key = Path(path).expanduser().read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"the key file {path} of {subject} cannot be read") from error
    if not key or " " in key or not key.isprintable():
        raise Misconfigured(f"the key file {path} of {subject} does not hold one key")
    return key


def _tell(trial: Trial, error: BaseException, *, slow: bool) -> None:
    """Tell the breaker how a call ended: a server that refuses, or is another one, is there; who left early has seen nothing."""
    if isinstance(error, Invalid | Misconfigured):
        trial.succeeded()
    elif isinstance(error, KalendsError) or slow:
        trial.failed()
    else:
        trial.abandoned()
