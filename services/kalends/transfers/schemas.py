"""What is asked of exports and imports, and answered about them, as JSON.

A newcomer would get wrong: lines travel as text and not as objects, for it is their bytes that a file's sums are about.
"""

from typing import Annotated

from msgspec import Meta, Struct

from kalends.transfers.importing import Status

_Line = Annotated[str, Meta(min_length=2)]


class ExportIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which page: that of ``cursor``, or the first; of about ``limit`` lines at most."""

    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=5000)] = 1000


class ExportPage(Struct, frozen=True, kw_only=True):
    """Lines of the export in their order, and where it goes on; null at its end.

    A line of a grip or of a node may come again, and counts once (docs/reference/export-format.md). ``unreadable``: messages of the log
    that could not be read on the way. ``complete`` is false where the credential lacks a label, so that something may be left out.
    """

    lines: list[str]
    next_cursor: str | None
    complete: bool
    unreadable: int = 0


class ImportIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lines of an export in their order; the grips that nodes cite come in the same request, before them.

    Until a request says ``finish``, or none comes for a minute, the calendar of the memory waits. A dry run changes nothing.
    """

    lines: Annotated[list[_Line], Meta(max_length=500)]
    finish: bool = False
    dry_run: bool = False


class LineFault(Struct, frozen=True, kw_only=True):
    """Why a line was not taken; the pointer is relative to the request."""

    pointer: str
    detail: str
    code: str


class LineResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one line.

    ``new``: it is here now. ``duplicate``: it was here already. ``known``: a version of the calendar that is not newer than what is here,
    or a grip. ``erased`` and ``gone``: it was erased or taken back here, and stays so. ``conflict``: its id is taken by something else.
    ``kept``: a document of that id is here with other content. ``refused``: it breaks a rule. ``masked`` names what was kept out of it.
    """

    status: Status
    error: LineFault | None = None
    masked: list[str] = []


class ImportOut(Struct, frozen=True, kw_only=True):
    """One result for each line, in order; ``visibility`` is for ``min_visibility`` of a read."""

    results: list[LineResult]
    visibility: str
