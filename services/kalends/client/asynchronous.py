"""The client for programs on asyncio: ``AsyncKalends``.

Belongs here: driving flows with an asynchronous httpx client, and the nouns and verbs of the SDK. Does not belong here: what an
operation sends (``requests``) or what is tried again (``exchanges``). A newcomer would get wrong: lists are iterators over all pages,
fetched as one goes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

import httpx
from msgspec import UNSET, UnsetType

from kalends.client import approvals, audit, calendar, connection, erasures, errors, exchanges, requests, results, retention, transport
from kalends.client.approvals import Approval, HandOver
from kalends.client.archives import AsyncArchives
from kalends.client.audit import AuditEntry, AuditOptions, AuditVerdict
from kalends.client.backups import AsyncBackups
from kalends.client.canaries import AsyncCanaries
from kalends.client.erasures import Erasure, ForgetOptions, Hold
from kalends.client.events import Appendable
from kalends.client.exchanges import Flow, Pause, RetryPolicy
from kalends.client.requests import ContextOptions, DocumentOptions, ListOptions, Moment, Request, SearchOptions, TokenOptions
from kalends.client.transfers import AsyncTransfers

T = TypeVar("T")


class AsyncKalends:
    """A connection to Kalends; close it, or use it as a context manager.

    Without arguments it finds the instance that ``kalends up`` runs on this machine. *agent_key_file* holds the seed of an agent's key and
    takes the place of a token: the client logs in by itself, again and again. *timeout_s* bounds one try, *retry* says how often
    there is another; *sleep* and *through* (an httpx transport) are for tests.

        async with AsyncKalends() as kalends:
            memory = kalends.memory("default")
            await memory.append([NewEvent(text="We ship on Friday.", session_id="standup")])
            for hit in (await memory.search("release day")).hits:
                print(hit.id, hit.text)
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        token_file: str | Path | None = None,
        agent_key_file: str | Path | None = None,
        ca_file: str | Path | None = None,
        certificate_file: str | Path | None = None,
        key_file: str | Path | None = None,
        data: str | Path | None = None,
        timeout_s: float = 35.0,
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        through: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Find the server; nothing is sent yet.

        Raises:
            NotConnected: there is no URL to be found, or the file of the token or of the key cannot be read.
        """
        found = connection.find(
            url=url,
            token=token,
            token_file=token_file,
            agent_key_file=agent_key_file,
            ca_file=ca_file,
            certificate_file=certificate_file,
            key_file=key_file,
            data=data,
        )
        self.url = found.url
        self._driver = _Driver(found, timeout_s=timeout_s, retry=retry or RetryPolicy(), sleep=sleep, through=through)
        self.backups = AsyncBackups(self._driver)
        self.archive = AsyncArchives(self._driver)
        self.transfers = AsyncTransfers(self._driver)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._driver.http.aclose()

    def memory(self, name: str) -> "AsyncMemory":
        """The memory *name*, whether it exists or not; nothing is sent."""
        return AsyncMemory(self._driver, name)

    def memories(self) -> AsyncIterator[results.MemoryInfo]:
        """All memories of the credential, by name."""
        return self._driver.pages(lambda cursor: requests.list_memories(cursor=cursor))

    async def create_memory(
        self,
        name: str,
        *,
        description: str | None = None,
        quota: Mapping[str, int] | None = None,
        redaction: Mapping[str, object] | None = None,
        isolation: requests.Isolation | None = None,
        retention: Mapping[str, object] | None = None,
    ) -> results.MemoryInfo:
        """Create a memory; the same again changes nothing. A ``dedicated`` one shares no stream and no index with others, for ever."""
        asked = requests.create_memory(
            name, description=description, quota=quota, redaction=redaction, isolation=isolation, retention=retention
        )
        return await self._driver.send(asked)

    def tokens(self) -> AsyncIterator[results.Token]:
        """All credentials of the tenant, without their secrets."""
        return self._driver.pages(lambda cursor: requests.list_tokens(cursor=cursor))

    async def create_token(self, **options: Unpack[TokenOptions]) -> results.NewToken:
        """Make a credential; its ``secret`` is shown this once."""
        return await self._driver.send(requests.create_token(**options))

    async def revoke_token(self, token_id: str) -> None:
        """Make a credential useless."""
        await self._driver.send(requests.revoke_token(token_id))

    async def rotate_token(self, token_id: str, *, overlap_s: int = 300) -> results.NewToken:
        """Give a credential a new id and ``secret``; the old ones stay valid for *overlap_s* seconds."""
        return await self._driver.send(requests.rotate_token(token_id, overlap_s=overlap_s))

    def agents(self) -> AsyncIterator[results.Agent]:
        """All agents of the tenant that have a key of their own."""
        return self._driver.pages(lambda cursor: requests.list_agents(cursor=cursor))

    async def create_agent(self, public_key: str, **options: Unpack[TokenOptions]) -> results.Agent:
        """Let whoever holds the key of *public_key* (``U…``) be an agent."""
        return await self._driver.send(requests.create_agent(public_key, **options))

    async def revoke_agent(self, agent_id: str) -> None:
        """Make an agent's key and its sessions useless."""
        await self._driver.send(requests.revoke_agent(agent_id))

    async def status(self, *, digests: bool = False) -> results.Status:
        """The instance as a whole; *digests* also of what each projection holds, which reads all of it."""
        return await self._driver.send(requests.get_status(digests=digests))

    async def rebuild_toc(
        self, *, memory: str | None = None, from_date: date | None = None, dry_run: bool = False
    ) -> results.OperationStarted:
        """Write the calendar of *memory* (None: of every memory) anew from *from_date* on; a dry run only counts."""
        return await self._driver.send(requests.rebuild_toc(memory=memory, from_date=from_date, dry_run=dry_run))

    async def reindex(self, *, projection: str = "all", dry_run: bool = False) -> results.OperationStarted:
        """Start to rebuild a projection (lexical, vector or all) from the log while it serves."""
        return await self._driver.send(requests.reindex(projection=projection, dry_run=dry_run))

    async def compact(self, *, store: str = "all") -> results.OperationStarted:
        """Start to let every store give back what it does not need, while it serves."""
        return await self._driver.send(requests.compact(store=store))

    async def rotate_keys(self, *, dry_run: bool = False) -> results.OperationStarted:
        """Start to wrap every data key under the newest key-encryption key, while everything serves; a dry run only counts."""
        return await self._driver.send(requests.rotate_keys(dry_run=dry_run))

    def operations(self) -> AsyncIterator[results.Operation]:
        """Long pieces of work, newest first."""
        return self._driver.pages(lambda cursor: requests.list_operations(cursor=cursor))

    async def operation(self, operation_id: str) -> results.Operation:
        """How a long piece of work goes."""
        return await self._driver.send(requests.get_operation(operation_id))

    async def cancel_operation(self, operation_id: str) -> None:
        """Ask a long piece of work to stop."""
        await self._driver.send(requests.cancel_operation(operation_id))

    async def wait_for(
        self, operation_id: str, *, timeout_s: float = 600.0, on_progress: Callable[[results.Operation], None] | None = None
    ) -> results.Operation:
        """Ask until an operation has ended.

        Raises:
            WaitedTooLong: it has not ended within *timeout_s*; it goes on.
        """
        flow = exchanges.wait_for(operation_id, policy=self._driver.retry, timeout_s=timeout_s, on_progress=on_progress)
        return await self._driver.run(flow)

    def audit(self, **options: Unpack[AuditOptions]) -> AsyncIterator[AuditEntry]:
        """Who did what with which outcome, newest first."""
        return self._driver.pages(lambda cursor: audit.list_audit(options, cursor=cursor))

    async def verify_audit(self) -> AuditVerdict:
        """Have the whole audit checked."""
        return await self._driver.run(audit.verify_audit(policy=self._driver.retry))

    def approvals(self, *, state: str | None = None) -> AsyncIterator[Approval]:
        """What waits for a second person, or did, newest first; *state*: only those that stand so."""
        return self._driver.pages(lambda cursor: approvals.list_approvals(state=state, cursor=cursor))

    async def approval(self, approval_id: str) -> Approval:
        """One approval."""
        return await self._driver.send(approvals.get_approval(approval_id))

    async def approve(self, approval_id: str) -> Approval:
        """Have done what somebody else asked for; it is done when this returns with the state done."""
        return await self._driver.send(approvals.approve(approval_id))

    async def refuse_approval(self, approval_id: str) -> Approval:
        """Have left undone what somebody else asked for."""
        return await self._driver.send(approvals.refuse(approval_id))

    def dead_letters(self) -> AsyncIterator[results.DeadLetter]:
        """Messages that could not be indexed, oldest first."""
        return self._driver.pages(lambda cursor: requests.list_dead_letters(cursor=cursor))

    async def replay_dead_letter(self, dead_letter_id: str) -> results.Replayed:
        """Have a message indexed again."""
        return await self._driver.send(requests.replay_dead_letter(dead_letter_id))

    async def scheduler_jobs(self) -> list[results.Job]:
        """Scheduled jobs: when they are due, and how their runs went."""
        return (await self._driver.send(requests.list_jobs())).items

    async def pause_job(self, name: str) -> results.Job:
        """Let a job rest until it is resumed."""
        return await self._driver.send(requests.change_job(name, "pause"))

    async def resume_job(self, name: str) -> results.Job:
        """Let a paused job run again, from its next due time on."""
        return await self._driver.send(requests.change_job(name, "resume"))

    async def run_job(self, name: str) -> results.Job:
        """Have a job run now, also a paused one."""
        return await self._driver.send(requests.change_job(name, "run"))

    async def run_retention(self, *, memory: str | None = None, dry_run: bool = False) -> retention.RetentionRun:
        """Erase what *memory* (None: every memory) keeps no longer; a dry run only counts."""
        return await self._driver.send(retention.run(memory=memory, dry_run=dry_run))

    async def reset_job_checkpoint(self, name: str) -> results.Job:
        """Have the next run of a job deal with everything, not only with what is new."""
        return await self._driver.send(requests.change_job(name, "reset-checkpoint"))


class AsyncMemory:
    """One memory: append to it, search it, read it."""

    def __init__(self, driver: "_Driver", name: str) -> None:
        self.name = name
        self.canaries = AsyncCanaries(driver, name)
        self._driver = driver

    async def info(self) -> results.MemoryInfo:
        """The memory and its counts."""
        return await self._driver.send(requests.get_memory(self.name))

    async def create(
        self,
        *,
        description: str | None = None,
        quota: Mapping[str, int] | None = None,
        redaction: Mapping[str, object] | None = None,
        isolation: requests.Isolation | None = None,
        retention: Mapping[str, object] | None = None,
    ) -> results.MemoryInfo:
        """Create it; the same again changes nothing."""
        asked = requests.create_memory(
            self.name, description=description, quota=quota, redaction=redaction, isolation=isolation, retention=retention
        )
        return await self._driver.send(asked)

    async def change(
        self,
        *,
        description: str | None = None,
        quota: Mapping[str, int] | None = None,
        redaction: Mapping[str, object] | None = None,
        retention: Mapping[str, object] | UnsetType | None = UNSET,
    ) -> results.MemoryInfo:
        """Change what is given and leave the rest; a *retention* of None is taken away."""
        request = requests.change_memory(self.name, description=description, quota=quota, redaction=redaction, retention=retention)
        return await self._driver.send(request)

    async def hand_over(self, to: str, *, reason_code: str = "request") -> HandOver:
        """Give it a new owner: ``token:ID``, ``agent:ID``, ``oidc:ISSUER#SUBJECT``, ``kubernetes:NAMESPACE/ACCOUNT`` or ``outsider:ID``.

        Nobody else but admins of all memories reaches it from then on; if ``approval`` is set, a second person must approve it first.
        """
        return await self._driver.send(approvals.hand_over(self.name, to=to, reason_code=reason_code))

    async def append(
        self, events: Appendable | Iterable[Appendable], *, wait_s: float | None = None, raise_on_rejected: bool = True
    ) -> results.AppendReceipt:
        """Append any number of events; when this returns they are durable.

        Sent in requests of at most 500 events, each retried with the same ids. *wait_s*: also wait so long, in seconds, until they can
        be found.

        Raises:
            EventsRejected: *raise_on_rejected*, and some events broke a rule; the others are stored.
            ClientError: a request failed for good; ``results`` and ``pending`` of the error say how far the append came.
        """
        retry = self._driver.retry
        return await self._driver.run(exchanges.append(self.name, events, policy=retry, wait_s=wait_s, raise_on_rejected=raise_on_rejected))

    async def search(self, query: str, **options: Unpack[SearchOptions]) -> results.SearchAnswer:
        """Find events, documents, nodes of the calendar (``targets`` toc) or grips."""
        return await self._driver.send(requests.search(self.name, query, **options))

    async def feedback(
        self, verdict: requests.Verdict, *, event_id: str | None = None, satisfaction: int | None = None
    ) -> results.Feedback:
        """Say how an answer was: useful, useless, wrong, or that something was missing; *satisfaction* from 1 to 5. It is counted."""
        return await self._driver.send(requests.feedback(self.name, verdict, event_id=event_id, satisfaction=satisfaction))

    async def context(self, query: str | None = None, *, max_tokens: int, **options: Unpack[ContextOptions]) -> results.ContextAnswer:
        """A prompt-ready block of at most *max_tokens* tokens."""
        return await self._driver.send(requests.context(self.name, query=query, max_tokens=max_tokens, **options))

    def events(self, **options: Unpack[ListOptions]) -> AsyncIterator[results.Event]:
        """All events by occurred_at, page after page."""
        return self._driver.pages(lambda cursor: requests.list_events(self.name, cursor=cursor, **options))

    async def events_page(self, *, cursor: str | None = None, **options: Unpack[ListOptions]) -> results.Page[results.Event]:
        """One page of events."""
        return await self._driver.send(requests.list_events(self.name, cursor=cursor, **options))

    async def event(self, event_id: str, *, before: int = 0, after: int = 0) -> results.EventInContext:
        """One event and its neighbours in the session."""
        return await self._driver.send(requests.get_event(self.name, event_id, before=before, after=after))

    def sessions(self) -> AsyncIterator[results.Session]:
        """Sessions, the last active first."""
        return self._driver.pages(lambda cursor: requests.list_sessions(self.name, cursor=cursor))

    async def session(self, session_id: str) -> results.Session:
        """One session."""
        return await self._driver.send(requests.get_session(self.name, session_id))

    async def end_session(self, session_id: str) -> retention.SessionEnd:
        """End a session: a session-only memory forgets it then; in any other nothing changes."""
        return await self._driver.send(retention.end_session(self.name, session_id))

    @overload
    def toc(self) -> AsyncIterator[calendar.TocEntry]: ...
    @overload
    def toc(self, node_id: str, *, version: int | None = None) -> Awaitable[calendar.TocNode]: ...
    def toc(
        self, node_id: str | None = None, *, version: int | None = None
    ) -> AsyncIterator[calendar.TocEntry] | Awaitable[calendar.TocNode]:
        """The years of the calendar, oldest first; or one node of it, in its newest version or in that one."""
        if node_id is None:
            return self._driver.pages(lambda cursor: calendar.list_years(self.name, cursor=cursor))
        return self._driver.send(calendar.get_node(self.name, node_id, version=version))

    def toc_children(self, node_id: str) -> AsyncIterator[calendar.TocEntry]:
        """The nodes below a node, oldest first."""
        return self._driver.pages(lambda cursor: calendar.list_children(self.name, node_id, cursor=cursor))

    def toc_grips(self, node_id: str, *, version: int | None = None) -> AsyncIterator[calendar.Grip]:
        """What a node's lines rest on, in their order."""
        return self._driver.pages(lambda cursor: calendar.list_grips(self.name, node_id, version=version, cursor=cursor))

    async def expand(self, grip_id: str, *, before: int = 3, after: int = 3) -> calendar.ExpandedGrip:
        """A grip, its span of events, and so many before and after it in its session, however far apart in time."""
        return await self._driver.send(calendar.expand(self.name, grip_id, before=before, after=after))

    def documents(self) -> AsyncIterator[results.Document]:
        """Documents by id."""
        return self._driver.pages(lambda cursor: requests.list_documents(self.name, cursor=cursor))

    async def document(self, document_id: str) -> results.Document:
        """One document, without its text."""
        return await self._driver.send(requests.get_document(self.name, document_id))

    async def put_document(self, document_id: str, text: str, **options: Unpack[DocumentOptions]) -> results.Document:
        """Keep a document; the same content again changes nothing, other content replaces it."""
        return await self._driver.send(requests.put_document(self.name, document_id, text, **options))

    async def remove_document(self, document_id: str) -> results.RemovedDocument:
        """Take a document back."""
        return await self._driver.send(requests.remove_document(self.name, document_id))

    async def forget(self, **options: Unpack[ForgetOptions]) -> Erasure:
        """Forget what is named: hidden with the answer, erased soon after (``wait_for_erasure``)."""
        return await self._driver.send(erasures.forget(self.name, options))

    async def forget_all(self, *, undo_s: int = 0, idempotency_key: str | None = None) -> Erasure:
        """Forget the memory itself, with everything in it; the same again with the same key is the same erasure."""
        return await self._driver.send(erasures.forget_memory(self.name, undo_s=undo_s, idempotency_key=idempotency_key))

    def erasures(self) -> AsyncIterator[Erasure]:
        """Erasures, newest first."""
        return self._driver.pages(lambda cursor: erasures.list_erasures(self.name, cursor=cursor))

    async def erasure(self, erasure_id: str) -> Erasure:
        """How an erasure goes."""
        return await self._driver.send(erasures.get_erasure(self.name, erasure_id))

    async def undo_erasure(self, erasure_id: str) -> Erasure:
        """Show again what is only hidden."""
        return await self._driver.send(erasures.undo(self.name, erasure_id))

    async def wait_for_erasure(self, erasure_id: str, *, timeout_s: float = 600.0) -> Erasure:
        """Ask until an erasure has ended.

        Raises:
            WaitedTooLong: it has not ended within *timeout_s*; it goes on.
        """
        return await self._driver.run(erasures.wait_for(self.name, erasure_id, policy=self._driver.retry, timeout_s=timeout_s))

    async def erasure_receipt(self, erasure_id: str) -> dict[str, Any]:
        """The signed receipt of an erasure; ``kalends forget --verify`` checks it."""
        return await self._driver.send(erasures.get_receipt(self.name, erasure_id))

    def holds(self) -> AsyncIterator[Hold]:
        """What must not be erased."""
        return self._driver.pages(lambda _: erasures.list_holds(self.name))

    async def set_hold(
        self,
        name: str,
        *,
        session_id: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        everything: bool | None = None,
    ) -> Hold:
        """Keep a session, a stretch of time or everything from being erased."""
        options = {"session_id": session_id, "since": since, "until": until, "everything": everything}
        return await self._driver.send(erasures.set_hold(self.name, name, options))

    async def release_hold(self, name: str) -> None:
        """Let it be erased again."""
        await self._driver.send(erasures.release_hold(self.name, name))


class _Driver:
    """Does what flows ask for: sends with httpx, pauses with *sleep*."""

    def __init__(
        self,
        found: connection.Connection,
        *,
        timeout_s: float,
        retry: RetryPolicy,
        sleep: Callable[[float], Awaitable[None]],
        through: httpx.AsyncBaseTransport | None,
    ) -> None:
        self.retry = retry
        self.http = httpx.AsyncClient(transport=through, **transport.client_arguments(found, timeout_s=timeout_s))
        self._url = found.url
        self._sleep = sleep

    async def send(self, request: Request[T]) -> T:
        return await self.run(exchanges.exchange(request, policy=self.retry))

    async def pages(self, page: Callable[[str | None], Request[results.Page[T]]]) -> AsyncIterator[T]:
        cursor = None
        while True:
            found = await self.send(page(cursor))
            for item in found.items:
                yield item
            cursor = found.next_cursor
            if cursor is None:
                return

    async def run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                if isinstance(step, Pause):
                    await self._sleep(step.seconds)
                    step = flow.send(None)
                    continue
                try:
                    with transport.translated(self._url):
                        answer = transport.answer(await self.http.request(**transport.request_arguments(step)))
                except errors.ClientError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
