"""Commands that move memories: export, import.

Belongs here: which files, in which format, and telling what became of them. Does not belong here: Kalends' own file
(``client.export_files``) or how other programs' files are read (``foreign``). A newcomer would get wrong: everything is read once before
anything is sent, so a file with a mistake changes nothing; and every import may be repeated.
"""

import os
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from kalends.app import intake
from kalends.app.commands import write
from kalends.app.invocation import STUBBORN_S, Command, Invocation
from kalends.domain.errors import Conflict, Malformed
from kalends.foreign import FORMATS, read
from kalends.foreign.drafts import Bad

if TYPE_CHECKING:
    from rich.console import Console

    from kalends.client import ImportReport, Memory

OWN, PLAIN, FOLDER = "kalends", "jsonl", "markdown"
_BATCH = 500
_TOLD = 100


@click.command(cls=Command)
@click.argument("file", metavar="FILE|-")
@click.option("--force", is_flag=True, help="Overwrite FILE if it is there.")
@click.pass_obj
def export(invocation: Invocation, file: str, *, force: bool) -> None:
    """Write the memory as one file of JSON lines: events, documents, the calendar with its evidence, sessions, and sums."""
    with invocation.client(retry_s=STUBBORN_S) as kalends:
        if file == "-":
            kalends.transfers.export(invocation.memory, sys.stdout.buffer)
            return
        path = Path(file)
        if path.exists() and not force:
            raise Conflict(f"{path} is there already; overwrite it with --force")
        with _written(path) as stream, invocation.output.progress("lines", total=None) as advance:
            counts = kalends.transfers.export(invocation.memory, stream, watch=advance)
    result = {"file": str(path), "bytes": path.stat().st_size, **{f"{kind}s": count for kind, count in counts.items()}}
    told = ", ".join(f"{count:,} {kind}s" for kind, count in counts.items())
    invocation.output.give(result, lambda console: console.print(f"{path}: {told}", markup=False, soft_wrap=True))


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes are at *path* once all of them are there, readable by nobody else."""
    half = path.with_name(path.name + ".part")
    try:
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        half.replace(path)
    except OSError as error:
        raise Malformed(f"{path} cannot be written: {error.strerror}") from error
    finally:
        half.unlink(missing_ok=True)


@click.command("import", cls=Command)
@click.argument("paths", nargs=-1, required=True, metavar="FILE|FOLDER...")
@click.option(
    "--from",
    "source",
    type=click.Choice([OWN, PLAIN, FOLDER, *FORMATS]),
    help="What wrote the files; a file of `kalends export` is known by itself.",
)
@click.option("--dry-run", is_flag=True, help="Read everything and say what would come of it.")
@click.option("--skip-bad", is_flag=True, help="Leave out records that cannot be read; without it, one of them stops the import.")
@click.pass_obj
def import_files(invocation: Invocation, paths: Sequence[str], *, source: str | None, dry_run: bool, skip_bad: bool) -> int:
    """Take exports, or files of other programs, into the memory; the same again changes nothing."""
    if source is None and all(_is_own(Path(path)) for path in paths):
        source = OWN
    if source is None:
        raise click.UsageError(f"say with --from what wrote the files: {', '.join([OWN, PLAIN, FOLDER, *FORMATS])}")
    if source == OWN:
        return _own(invocation, paths, dry_run=dry_run)
    if source == FOLDER:
        return _documents(invocation, paths, dry_run=dry_run)
    return _foreign(invocation, _files(paths, source), source, dry_run=dry_run, skip_bad=skip_bad)


def _is_own(path: Path) -> bool:
    from kalends.client.export_files import is_export

    if not path.is_file():
        return False
    with _opened(path, OWN) as stream:
        return is_export(stream.readline(4096))


def _own(invocation: Invocation, paths: Sequence[str], *, dry_run: bool) -> int:
    from kalends.client import errors

    failed = 0
    with invocation.client(retry_s=STUBBORN_S) as kalends:
        memory = kalends.memory(invocation.memory)
        for path in _files(paths, OWN):
            with _opened(path, OWN) as stream, invocation.output.progress(f"lines of {path}", total=None) as advance:
                try:
                    report = kalends.transfers.load(invocation.memory, stream, dry_run=dry_run, watch=advance)
                except errors.NotFound as missing:
                    if dry_run:
                        raise
                    write.create(memory, missing)
                    stream.seek(0)
                    report = kalends.transfers.load(invocation.memory, stream, watch=advance)
            failed += report.failed
            _tell_own(invocation, path, report, dry_run=dry_run)
    return 1 if failed else 0


def _tell_own(invocation: Invocation, path: Path, report: "ImportReport", *, dry_run: bool) -> None:
    kinds = {"events": report.events, "documents": report.documents, "nodes": report.nodes}
    result = {"file": str(path), "dry_run": dry_run, **kinds, "masked": report.masked, "untaken": report.untaken}

    def show(console: "Console") -> None:
        from kalends.app.output import harmless

        for one in report.untaken:
            line = f"{path}:{one.line}: {one.status} {one.reason}".rstrip()
            console.print(harmless(line), style="red", markup=False, soft_wrap=True)
        for kind, counts in kinds.items():
            if counts:
                console.print(f"{kind}: " + ", ".join(f"{count:,} {status}" for status, count in counts.items()))

    invocation.output.give(result, show)


def _documents(invocation: Invocation, paths: Sequence[str], *, dry_run: bool) -> int:
    tally, found = write.Tally(), [one for one in intake.sources(paths) if one.document_id is not None]
    if dry_run:
        for one in found:
            intake.document_text(one)
            tally.documents["new"] += 1
    else:
        with invocation.client(retry_s=STUBBORN_S) as kalends, invocation.output.progress("documents", total=len(found)) as advance:
            for number, one in enumerate(found, start=1):
                write.store_document(kalends.memory(invocation.memory), one, tally)
                advance(number, len(found))
    _tell(invocation, FOLDER, {"documents": tally.documents}, [f"{one.source}: {one.reason}" for one in tally.rejected], dry_run=dry_run)
    return 1 if tally.documents["rejected"] else 0


@dataclass(slots=True)
class _Foreign:
    """What became of other programs' files."""

    events: Counter[str] = field(default_factory=Counter)
    bad: int = 0
    told: list[str] = field(default_factory=list)

    def tell(self, line: str) -> None:
        if len(self.told) < _TOLD:
            self.told.append(line)


def _foreign(invocation: Invocation, files: Sequence[Path], source: str, *, dry_run: bool, skip_bad: bool) -> int:
    became = _Foreign()
    for path in files:
        with _opened(path, source) as stream:
            for one in read(stream, source, name=path.stem):
                if isinstance(one, Bad):
                    became.bad += 1
                    became.tell(f"{path}:{one.line}: {one.reason}")
                else:
                    became.events["read"] += 1
    if not dry_run and (not became.bad or skip_bad):
        with invocation.client(retry_s=STUBBORN_S) as kalends:
            for path in files:
                with _opened(path, source) as stream, invocation.output.progress(f"events of {path}", total=None) as advance:
                    for done in _sent(kalends.memory(invocation.memory), stream, source, path, became):
                        advance(done, None)
    _tell(invocation, source, {"events": dict(became.events)}, became.told, dry_run=dry_run, bad=became.bad, files=len(files))
    return 1 if became.events["rejected"] + became.events["conflict"] or (became.bad and not skip_bad) else 0


def _sent(memory: "Memory", stream: BinaryIO, source: str, path: Path, became: _Foreign) -> Iterator[int]:
    """Append what the file holds, batch by batch; yields how many events of it are done."""
    found = (one for one in read(stream, source, name=path.stem) if not isinstance(one, Bad))
    done = 0
    while batch := list(islice(found, _BATCH)):
        receipt = write.append(memory, [one.event for one in batch])
        for one, result in zip(batch, receipt.results, strict=True):
            if result.error is None:
                became.events[result.status] += 1
                continue
            word = result.error.code if result.error.code in ("erased", "gone", "conflict") else "rejected"
            became.events[word] += 1
            became.tell(f"{path}:{one.line}: {result.error.detail}")
        done += len(batch)
        yield done


def _files(paths: Sequence[str], source: str) -> list[Path]:
    """The files that *paths* name, folders opened up, in a stable order; hidden ones in a folder are left out.

    Raises:
        UsageError: there is no such file, or none of that format.
    """
    pattern = FORMATS[source].pattern if source in FORMATS else "*.jsonl"
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            within = (one for one in sorted(path.rglob(pattern)) if one.is_file())
            found += [one for one in within if not any(part.startswith(".") for part in one.relative_to(path).parts)]
        elif path.is_file():
            found.append(path)
        else:
            raise click.UsageError(f"there is no file {str(path)!r}")
    if not found:
        raise click.UsageError(f"there is no {pattern} in {', '.join(paths)}")
    return found


@contextmanager
def _opened(path: Path, source: str) -> Iterator[BinaryIO]:
    """The file, or of an archive the member that the format is about.

    Raises:
        Malformed: it cannot be read, or has no such member.
    """
    member = FORMATS[source].member if source in FORMATS else ""
    try:
        if member and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.rpartition("/")[2] == member]
                if not names:
                    raise Malformed(f"{path} has no {member}")
                with archive.open(names[0]) as stream:
                    yield stream  # type: ignore[misc]  # it reads and seeks, which is all that is done with it
        else:
            with path.open("rb") as stream:
                yield stream
    except (OSError, zipfile.BadZipFile) as error:
        raise Malformed(f"{path} cannot be read: {error}") from error


def _tell(
    invocation: Invocation, source: str, counts: Mapping[str, Mapping[str, int]], told: Sequence[str], *, dry_run: bool, **more: Any
) -> None:
    result = {"from": source, "dry_run": dry_run, **more, **counts, "rejected": list(told)}

    def show(console: "Console") -> None:
        from kalends.app.output import harmless

        for line in told:
            console.print(harmless(line), style="red", markup=False, soft_wrap=True)
        for kind, found in counts.items():
            console.print(f"{kind}: " + (", ".join(f"{count:,} {status}" for status, count in found.items() if count) or "none"))
        if more.get("bad"):
            console.print(f"{more['bad']:,} records cannot be read", style="red")

    invocation.output.give(result, show)
