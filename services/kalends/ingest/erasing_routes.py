"""Ingest's rows of the operation table for erasures and holds.

A newcomer would get wrong: what an erasure names is told to nobody any more once it was asked for, not even to who asked.
"""

import hashlib
import re
from collections.abc import Sequence

from msgspec import Struct

from kalends.domain import labels
from kalends.domain.approvals import ERASE_EVERYTHING, Approval
from kalends.domain.credentials import require
from kalends.domain.erasures import Erasure, Hold, Selector
from kalends.domain.errors import Conflict, Fault, Forbidden, Invalid, NotFound
from kalends.domain.events import EventId, canonical_id, check_text, microseconds, moment, new_ulid
from kalends.domain.queries import decode_cursor, encode_cursor
from kalends.domain.scope import MemoryName, Scope
from kalends.edge.operations import Answer, Call, Handler, Operation
from kalends.ingest import erasing_schemas as schemas
from kalends.ingest.approval_routes import ApprovalOut, approval_out
from kalends.ingest.approving import OF, WHOLE_TENANT, Approvals
from kalends.ingest.erasing import RequestErasures
from kalends.ingest.routes import utc
from kalends.ports.clock import Clock
from kalends.wire import receipts
from kalends.wire.documents import session_of
from kalends.wire.memories import MemoryRegistry
from kalends.wire.selecting import Selection

_EVERYTHING = Selector(kind="everything")
_KEY = "idempotency-key"
CONTENT, WHOLE = "content", "memory"
"""What an approval of an erasure is of, beside a whole tenant: what is in a memory, or the memory with it."""

_HOLD = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


class ErasureRoutes:
    """``/memories/{memory}/erasures``, ``/memories/{memory}/holds`` and what erases whole memories."""

    def __init__(self, *, erasures: RequestErasures, memories: MemoryRegistry, clock: Clock, approvals: Approvals | None = None) -> None:
        self._approvals = approvals
        self._erasures = erasures
        self._memories = memories
        self._clock = clock

    async def create(self, call: Call) -> Answer:
        """Forget what is named: hidden with this answer, erased soon after; 200 for a dry run."""
        body: schemas.ErasureIn = call.body
        selector = selector_of(body)
        if body.dry_run:
            plan = await self._erasures.plan(call.scoped, selector)
            return Answer(body=_planned(call.scoped, selector, plan, reason=body.reason, by=call.principal.token_id), status=200)
        if selector.kind == "everything" and self._needs_approval:
            await self._erasures.plan(call.scoped, selector)
            return await self._wait(call, CONTENT, reason=body.reason, undo_s=body.undo_s)
        begun = await self._erasures.ask(
            call.scoped,
            selector,
            reason=body.reason,
            by=call.principal.token_id,
            undo_s=body.undo_s,
            idempotency_key=call.headers.get(_KEY),
        )
        return Answer(body=self._out(begun))

    async def remove_memory(self, call: Call) -> Answer:
        """Forget a memory with everything in it; 200 for a dry run."""
        query: schemas.RemoveQuery = call.query
        if query.dry_run:
            return Answer(body=await self._whole(call.scoped, reason="request", by=call.principal.token_id), status=200)
        if self._needs_approval:
            await self._erasures.plan(call.scoped, _EVERYTHING)
            return await self._wait(call, WHOLE, reason="request", undo_s=query.undo_s)
        begun = await self._erasures.ask(
            call.scoped,
            _EVERYTHING,
            reason="request",
            by=call.principal.token_id,
            undo_s=query.undo_s,
            with_memory=True,
            idempotency_key=call.headers.get(_KEY),
        )
        return Answer(body=self._out(begun))

    @property
    def _needs_approval(self) -> bool:
        return self._approvals is not None and self._approvals.needs(ERASE_EVERYTHING)

    async def _wait(self, call: Call, of: str, *, reason: str, undo_s: int, memories: Sequence[str] = ()) -> Answer:
        """Ask for a second person instead; nothing is hidden yet. *of*: what is to be erased."""
        assert self._approvals is not None  # noqa: S101 - asked only where approvals are needed
        asked = await self._approvals.ask(
            call.principal,
            ERASE_EVERYTHING,
            memories=memories or [call.scoped.memory],
            arguments={OF: of, "reason": reason, "undo_s": str(undo_s)},
            wide=of == WHOLE_TENANT,
        )
        waiting = approval_out(asked, now_us=microseconds(self._clock.now()))
        if of == WHOLE_TENANT:
            return Answer(body=schemas.TenantErasureOut(items=[], approval=waiting), outcome="pending")
        return Answer(body=_waiting(call.scoped, waiting, reason=reason, by=call.principal.token_id), outcome="pending")

    async def act(self, approval: Approval) -> str:
        """Do what was approved; a memory that is no more is left out, and one that may not go does not keep the others.

        Raises:
            NotFound: none of the memories is left. Conflict: some may not go; says which, and what was begun. Unavailable,
            DeadlineExceeded: some may have been begun.
        """
        begun, kept = [], []
        for name in approval.memories:
            try:
                begun.append(await self._erase(approval, Scope(tenant=approval.tenant, memory=MemoryName(name))))
            except NotFound:
                continue
            except Conflict as error:
                kept.append(f"{name}: {error.detail}")
        if kept:
            raise Conflict("; ".join([*kept, *([f"begun: {', '.join(begun)}"] if begun else [])]))
        if not begun:
            raise NotFound("there is nothing left to be erased")
        return f"erasures: {', '.join(begun)}"

    async def _erase(self, approval: Approval, scope: Scope) -> EventId:
        """Begin the erasure of one memory, once, however often it is asked.

        Raises:
            NotFound: it is no more. Conflict: a hold keeps it, or it was handed over since.
        """
        memory = await self._memories.reread(scope)
        if memory.handed_over_us >= approval.requested_us:
            raise Conflict("it was handed over since this was asked for")
        begun = await self._erasures.ask(
            scope,
            _EVERYTHING,
            reason=approval.arguments["reason"],
            by=approval.requested_with,
            undo_s=int(approval.arguments["undo_s"]),
            with_memory=approval.arguments[OF] != CONTENT,
            erasure_id=_derived_id(approval, scope),
        )
        return begun.erasure_id

    async def _whole(self, scope: Scope, *, reason: str, by: str) -> schemas.ErasureOut:
        """What would go with a memory."""
        return _planned(scope, _EVERYTHING, await self._erasures.plan(scope, _EVERYTHING), reason=reason, by=by)

    async def remove_tenant(self, call: Call) -> Answer:
        """Forget every memory of the tenant; 200 for a dry run.

        Raises:
            Forbidden: the credential is for some memories only.
        """
        body: schemas.TenantErasureIn = call.body
        require(call.principal, right="admin")
        if call.principal.memories is not None:
            raise Forbidden("this is for a credential of all memories")
        by = call.principal.token_id
        memories = await self._memories.of_tenant(call.principal.tenant)
        if body.dry_run:
            planned = [await self._whole(memory.scope, reason=body.reason, by=by) for memory in memories]
            return Answer(body=schemas.TenantErasureOut(items=planned), status=200)
        if self._needs_approval and memories:
            names = [memory.scope.memory for memory in memories]
            return await self._wait(call, WHOLE_TENANT, reason=body.reason, undo_s=body.undo_s, memories=names)
        begun = [
            await self._erasures.ask(
                memory.scope,
                _EVERYTHING,
                reason=body.reason,
                by=by,
                undo_s=body.undo_s,
                with_memory=True,
                idempotency_key=call.headers.get(_KEY),
            )
            for memory in memories
        ]
        return Answer(body=schemas.TenantErasureOut(items=[self._out(one) for one in begun]))

    async def show(self, call: Call) -> Answer:
        """How an erasure goes."""
        return Answer(body=self._out(await self._erasures.find(call.scoped, call.path["erasure_id"])))

    async def list(self, call: Call) -> Answer:
        """Erasures, newest first; also those of a memory that is gone.

        Raises:
            NotFound: there is no such memory, and none was erased.
        """
        query: schemas.ErasuresQuery = call.query
        bound = f"erasures\0{call.scoped.key}"
        before = str(decode_cursor(query.cursor, bound_to=bound, shape=(str,))[0]) if query.cursor else "~"
        every = await self._erasures.all(call.scoped)
        if not every:
            await self._memories.find(call.scoped)
        found = [one for one in every if one.erasure_id < before]
        page = found[: query.limit]
        cursor = encode_cursor([page[-1].erasure_id], bound_to=bound) if len(found) > len(page) else None
        return Answer(body=schemas.ErasureList(items=[self._out(one) for one in page], next_cursor=cursor))

    async def undo(self, call: Call) -> Answer:
        """Show again what was only hidden."""
        return Answer(body=self._out(await self._erasures.undo(call.scoped, call.path["erasure_id"])))

    async def receipt(self, call: Call) -> Answer:
        """The signed receipt."""
        return Answer(body=receipts.read(await self._erasures.receipt(call.scoped, call.path["erasure_id"])))

    async def hold(self, call: Call) -> Answer:
        """Keep something from being erased."""
        body: schemas.HoldIn = call.body
        name = call.path["hold"]
        if not _HOLD.fullmatch(name):
            detail = "must be 1 to 40 characters of a-z, 0-9 and '-', starting and ending with a letter or digit"
            raise Invalid(detail, faults=[Fault(pointer="/hold", detail=detail, code="name")])
        selector = selector_of(
            schemas.SelectorIn(session_id=body.session_id, since=body.since, until=body.until, everything=body.everything)
        )
        now_us = microseconds(self._clock.now())
        hold = Hold(name=name, scope=call.scoped, selector=selector, set_by=call.principal.token_id, set_us=now_us)
        too_late = await self._erasures.hold(hold)
        return Answer(body=_hold_out(hold, too_late=[*too_late]))

    async def holds(self, call: Call) -> Answer:
        """The holds of a memory."""
        return Answer(body=schemas.HoldList(items=[_hold_out(one) for one in await self._erasures.holds(call.scoped)]))

    async def release(self, call: Call) -> Answer:
        """Let something be erased again."""
        await self._erasures.release(call.scoped, call.path["hold"])
        return Answer(body=schemas.Released(name=call.path["hold"]))

    def _out(self, erasure: Erasure) -> schemas.ErasureOut:
        undoable = erasure.state == "hidden" and not erasure.begun and erasure.undo_until_us > microseconds(self._clock.now())
        return schemas.ErasureOut(
            erasure_id=erasure.erasure_id,
            memory=erasure.scope.memory,
            selector=erasure.selector_kind,
            state=erasure.state,
            reason=erasure.reason,
            requested_by=erasure.requested_by,
            requested_at=moment(erasure.requested_us),
            undo_until=moment(erasure.undo_until_us) if erasure.undo_until_us > erasure.requested_us else None,
            undoable=undoable,
            times={state: moment(at_us) for state, at_us in erasure.times.items()},
            counts=dict(erasure.counts),
            receipt=erasure.state == "erased",
        )


def _derived_id(approval: Approval, scope: Scope) -> EventId:
    """The id of the erasure of *scope* that *approval* leads to: the same each time it is acted on, so that it is begun once."""
    digest = hashlib.blake2b(f"{approval.approval_id}\0{scope.key}".encode(), digest_size=10).digest()
    return new_ulid(moment(approval.decided_us), randomness=digest)


def _waiting(scope: Scope, approval: ApprovalOut, *, reason: str, by: str) -> schemas.ErasureOut:
    """What is answered while a second person is awaited."""
    return schemas.ErasureOut(
        erasure_id="",
        memory=scope.memory,
        selector=_EVERYTHING.kind,
        state="waiting",
        reason=reason,
        requested_by=by,
        requested_at=approval.requested_at,
        undo_until=None,
        undoable=False,
        times={},
        counts={},
        receipt=False,
        approval=approval,
    )


def _planned(scope: Scope, selector: Selector, plan: Selection, *, reason: str, by: str) -> schemas.ErasureOut:
    return schemas.ErasureOut(
        erasure_id="",
        memory=scope.memory,
        selector=selector.kind,
        state="planned",
        reason=reason,
        requested_by=by,
        requested_at=None,
        undo_until=None,
        undoable=False,
        times={},
        counts=plan._asdict(),
        receipt=False,
        dry_run=True,
    )


def _hold_out(hold: Hold, *, too_late: list[str] | None = None) -> schemas.HoldOut:
    selector = hold.selector
    return schemas.HoldOut(
        name=hold.name,
        set_by=hold.set_by,
        set_at=moment(hold.set_us),
        session_id=selector.session or None,
        since=None if selector.since_us is None else moment(selector.since_us),
        until=None if selector.until_us is None else moment(selector.until_us),
        everything=selector.kind == "everything",
        too_late=too_late or [],
    )


def selector_of(body: schemas.SelectorIn) -> Selector:
    """What a request names.

    Raises:
        Invalid: not exactly one thing, or one that breaks a rule.
    """
    ranged = body.since is not None or body.until is not None
    given = [name for name in ("event_ids", "session_id", "actor", "document_id", "metadata", "label") if getattr(body, name) is not None]
    given += ["range"] * ranged + ["everything"] * body.everything
    if len(given) != 1:
        detail = "exactly one of event_ids, session_id, actor, from and to, document_id, metadata, label, everything must be given"
        raise Invalid(detail, faults=[Fault(pointer="", detail=detail, code="selector")])
    name = body.session_id or body.actor or body.document_id
    fault = None if name is None else check_text(name, pointer=f"/{given[0]}", limit=2000)
    if fault is not None:
        raise Invalid(fault.detail, faults=[fault])
    since_us = None if body.since is None else microseconds(utc(body.since, pointer="/from"))
    until_us = None if body.until is None else microseconds(utc(body.until, pointer="/to"))
    if since_us is not None and until_us is not None and since_us >= until_us:
        detail = "from must lie before to"
        raise Invalid(detail, faults=[Fault(pointer="/from", detail=detail, code="range")])
    return Selector(
        kind=given[0],  # type: ignore[arg-type]  # the names above are the kinds
        event_ids=tuple(canonical_id(one) for one in body.event_ids or ()),
        session=body.session_id or (session_of(body.document_id) if body.document_id else ""),
        actor=body.actor or "",
        since_us=since_us,
        until_us=until_us,
        document_id=body.document_id or "",
        metadata=body.metadata or {},
        label=labels.check([body.label], pointer="")[0] if body.label is not None else "",
    )


def operations(routes: ErasureRoutes) -> list[Operation]:
    """The rows for erasures, which need ``erase``, and for holds and whole tenants, which need ``admin``; all of them every label."""
    memory = "/memories/{memory}"
    one = f"{memory}/erasures/{{erasure_id}}"
    out = schemas.ErasureOut
    create = Operation(
        name="erasures.create",
        method="POST",
        path=f"{memory}/erasures",
        right="erase",
        summary="Forget what is named: hidden at once, then unreadable, then erased with a receipt",
        handle=routes.create,
        answer=out,
        status=202,
        statuses=(200,),
        body=schemas.ErasureIn,
        subject="erasures.create",
        every_label=True,
    )
    rows: list[tuple[str, str, str, str, Handler, type[Struct], type[Struct] | None]] = [
        ("erasures.list", "GET", f"{memory}/erasures", "Erasures, newest first", routes.list, schemas.ErasureList, schemas.ErasuresQuery),
        ("erasures.show", "GET", one, "How an erasure goes", routes.show, out, None),
        ("erasures.undo", "DELETE", one, "Show again what is only hidden", routes.undo, out, None),
        ("erasures.receipt", "GET", f"{one}/receipt", "The signed receipt of an erasure", routes.receipt, receipts.Receipt, None),
        ("memories.remove", "DELETE", memory, "Forget a memory with everything in it", routes.remove_memory, out, schemas.RemoveQuery),
        ("erasures.tenant", "POST", "/erasures", "Forget every memory of the tenant", routes.remove_tenant, schemas.TenantErasureOut, None),
        ("holds.list", "GET", f"{memory}/holds", "What must not be erased", routes.holds, schemas.HoldList, None),
        ("holds.set", "PUT", f"{memory}/holds/{{hold}}", "Keep something from being erased", routes.hold, schemas.HoldOut, None),
        ("holds.release", "DELETE", f"{memory}/holds/{{hold}}", "Let it be erased again", routes.release, schemas.Released, None),
    ]
    bodies: dict[str, type[Struct]] = {"erasures.tenant": schemas.TenantErasureIn, "holds.set": schemas.HoldIn}
    return [
        create,
        *(
            Operation(
                name=name,
                method=method,
                path=path,
                right="admin" if name in {"erasures.tenant", "holds.list", "holds.set", "holds.release"} else "erase",
                summary=summary,
                handle=handle,
                answer=answer,
                status=202 if name in {"memories.remove", "erasures.tenant"} else 200,
                statuses=(200,) if name in {"memories.remove", "erasures.tenant"} else (),
                body=bodies.get(name),
                query=query,
                every_label=True,
            )
            for name, method, path, summary, handle, answer, query in rows
        ),
    ]
