"""The operation table's rows for exports and imports.

A newcomer would get wrong: an export is asked for by POST although it changes nothing, for each page of it is in the audit; and an import
is for credentials of all labels, for it must see whether something is there.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kalends.domain.errors import Fault, Invalid, Malformed, TooLarge
from kalends.domain.exports import LINE_BYTES
from kalends.domain.labels import Clearance
from kalends.domain.positions import highest, visibility_token
from kalends.domain.queries import decode_cursor, encode_cursor
from kalends.domain.scope import Scope
from kalends.edge import decoding
from kalends.edge.operations import Answer, Call, Operation
from kalends.transfers import schemas
from kalends.transfers.exporting import DOCUMENTS, EVENTS, NODES, ExportMemory, Place
from kalends.transfers.importing import ImportLines, Taken
from kalends.wire.arrivals import Arrivals
from kalends.wire.exported import Line

_PARTS = (EVENTS, DOCUMENTS, NODES)


class TransferRoutes:
    """Handlers of both."""

    def __init__(self, *, export: ExportMemory, take: ImportLines, arrivals: Arrivals) -> None:
        self._export = export
        self._take = take
        self._arrivals = arrivals
        self._line: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)

    async def read(self, call: Call) -> Answer:
        """One page of an export."""
        body: schemas.ExportIn = call.body
        clearance = call.principal.clearance
        bound = _bound(call.scoped, clearance)
        place = None if body.cursor is None else _place(body.cursor, bound)
        page = await self._export.page(call.scoped, place, limit=body.limit, clearance=clearance)
        out = schemas.ExportPage(
            lines=page.lines,
            next_cursor=None if page.next is None else _cursor(page.next, bound),
            complete=clearance.labels is None,
            unreadable=page.unreadable,
        )
        return Answer(body=out)

    async def take(self, call: Call) -> Answer:
        """Some lines of an import."""
        body: schemas.ImportIn = call.body
        lines = [self._decoded(text, number) for number, text in enumerate(body.lines)]
        if not body.dry_run:
            await self._arrivals.hold(call.scoped)
        taken = await self._take(call.scoped, lines, dry_run=body.dry_run)
        if body.finish and not body.dry_run:
            await self._arrivals.release(call.scoped)
        wanted = highest(one.position for one in taken if one.position is not None)
        results = [_result(one, number) for number, one in enumerate(taken)]
        costs = {"events": sum(one.status == "new" for one in taken)}
        return Answer(body=schemas.ImportOut(results=results, visibility=visibility_token(wanted)), costs=costs)

    def _decoded(self, text: str, number: int) -> Line:
        if len(text) > LINE_BYTES:
            raise TooLarge(f"line {number} is longer than {LINE_BYTES} characters")
        try:
            return decoding.body_of(self._line, text.encode("utf-8", "surrogatepass"))
        except (Invalid, Malformed) as error:
            first = error.faults[0] if error.faults else Fault(pointer="", detail=error.detail, code=error.code)
            fault = Fault(pointer=f"/lines/{number}{first.pointer}", detail=first.detail, code=first.code)
            raise Invalid("a line cannot be read", faults=[fault]) from None


def _result(taken: Taken, number: int) -> schemas.LineResult:
    fault = taken.fault
    error = None
    if fault is not None:
        error = schemas.LineFault(pointer=f"/lines/{number}{fault.pointer}", detail=fault.detail, code=fault.code)
    return schemas.LineResult(status=taken.status, error=error, masked=list(taken.masked))


def _bound(scope: Scope, clearance: Clearance) -> str:
    return f"export\0{scope.key}\0{clearance.mark}"


def _cursor(place: Place, bound: str) -> str:
    return encode_cursor([place.part, _text(place.after), _text(place.upto), place.document], bound_to=bound)


def _place(cursor: str, bound: str) -> Place:
    part, after, upto, document = (str(one) for one in decode_cursor(cursor, bound_to=bound, shape=(str, str, str, str)))
    if part not in _PARTS:
        raise _no_cursor()
    return Place(part=part, after=_floors(after), upto=_floors(upto), document=document)


def _text(floors: Mapping[str, int]) -> str:
    return json.dumps(dict(floors), separators=(",", ":"))


def _floors(text: str) -> Mapping[str, int]:
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(type(one) is int and 0 <= one < 1 << 63 for one in found.values()):
        raise _no_cursor()
    return found


def _no_cursor() -> Invalid:
    detail = "not a cursor of this export"
    return Invalid(detail, faults=[Fault(pointer="/cursor", detail=detail, code="cursor")])


def operations(routes: TransferRoutes) -> Sequence[Operation]:
    """The rows."""
    return [
        Operation(
            name="exports.read",
            method="POST",
            path="/memories/{memory}/exports",
            right="admin",
            summary="One page of an export of the memory, as it was when the first page was asked for",
            handle=routes.read,
            answer=schemas.ExportPage,
            body=schemas.ExportIn,
        ),
        Operation(
            name="imports.take",
            method="POST",
            path="/memories/{memory}/imports",
            right="admin",
            every_label=True,
            summary="Take lines of an export into the memory; the same again changes nothing",
            handle=routes.take,
            answer=schemas.ImportOut,
            body=schemas.ImportIn,
        ),
    ]
