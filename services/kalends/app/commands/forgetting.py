"""The command that forgets, and checks receipts.

Belongs here: ``forget``. Does not belong here: what an erasure does. A newcomer would get wrong: without ``--yes`` a terminal is asked, and
whatever is no terminal must say it; and ``--verify`` talks to no server, so it can be used where there is none.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kalends.app.invocation import Command, Invocation, scalars
from kalends.app.moments import Moment, shown

if TYPE_CHECKING:
    from rich.console import Console

    from kalends.client import Erasure
    from kalends.client.erasures import ForgetOptions
    from kalends.wire.receipts import Receipt

_DURATION = re.compile(r"(\d{1,7})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_FAILED = 1


class Duration(click.ParamType[int]):
    """A number with ``s``, ``m``, ``h`` or ``d``, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Whole seconds.

        Raises:
            BadParameter: it is no such number.
        """
        if isinstance(value, int):
            return value
        found = _DURATION.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is not a duration such as 90s, 30m, 1h or 7d", param, ctx)
        return int(found[1]) * _SECONDS[found[2]]


@click.command(cls=Command)
@click.option("--event", "event_ids", multiple=True, metavar="ID", help="An event; may be given often.")
@click.option("--session", "session_id", metavar="ID", help="A whole session.")
@click.option("--actor", metavar="NAME", help="Everything that somebody said or did.")
@click.option("--from", "since", type=Moment(), help="What occurred then or later.")
@click.option("--to", "until", type=Moment(), help="What occurred before.")
@click.option("--document", "document_id", metavar="ID", help="A document with all its chunks.")
@click.option("--meta", multiple=True, metavar="KEY=VALUE", help="What has this in its metadata; may be given often.")
@click.option("--label", metavar="LABEL", help="What has this label.")
@click.option("--everything", is_flag=True, help="All that the memory holds.")
@click.option("--dry-run", is_flag=True, help="Only say how much would go.")
@click.option("--undo-for", "undo_s", type=Duration(), default=0, help="Only hide it for so long (30m, 1h, 7d), and then erase it.")
@click.option("--undo", metavar="ERASURE", help="Show again what this erasure has only hidden yet.")
@click.option("--wait", is_flag=True, help="Return once it is erased, with the receipt.")
@click.option("--timeout", type=click.FloatRange(min=1), default=900.0, show_default=True, help="Longest wait, in seconds.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--verify", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Check this receipt; asks no server.")
@click.option("--key", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="File with the public key (hex) to trust.")
@click.pass_obj
def forget(
    invocation: Invocation,
    /,
    *,
    meta: Sequence[str],
    wait: bool,
    timeout: float,
    yes: bool,
    undo: str | None,
    verify: Path | None,
    key: Path | None,
    **selected: Any,
) -> int:
    """Forget what is named, for good: hidden at once, erased soon after, with a signed receipt."""
    if verify is not None:
        return _verify(invocation, verify, key)
    memory_name = invocation.memory
    if undo is not None:
        with invocation.client() as kalends:
            undone = kalends.memory(memory_name).undo_erasure(undo)
        invocation.output.give(undone, lambda console: console.print(f"erasure {undone.erasure_id} is undone"))
        return 0
    options = _options(selected, meta)
    if not options.get("dry_run") and not yes:
        _confirm(invocation, memory_name)
    with invocation.client() as kalends:
        memory = kalends.memory(memory_name)
        erasure = memory.forget(**options)
        receipt = None
        if wait and not erasure.ended:
            erasure = memory.wait_for_erasure(erasure.erasure_id, timeout_s=timeout)
            receipt = memory.erasure_receipt(erasure.erasure_id) if erasure.receipt else None
    result = erasure if receipt is None else {"erasure": erasure, "receipt": receipt}
    invocation.output.give(result, lambda console: _show(console, erasure))
    return 0


def _options(selected: dict[str, Any], meta: Sequence[str]) -> "ForgetOptions":
    """What to send.

    Raises:
        UsageError: nothing is named, or more than one thing.
    """
    names = ("event_ids", "session_id", "actor", "document_id", "label", "everything")
    named = [name for name in names if selected[name]] + ["metadata"] * bool(meta)
    named += ["range"] * (selected["since"] is not None or selected["until"] is not None)
    if len(named) != 1:
        raise click.UsageError("name exactly one of --event, --session, --actor, --from/--to, --document, --meta, --label, --everything")
    options: dict[str, Any] = {name: selected[name] for name in (*names, "since", "until", "dry_run", "undo_s") if selected[name]}
    if meta:
        options["metadata"] = scalars(meta)
    return options  # type: ignore[return-value]  # the names are those of the options


def _confirm(invocation: Invocation, memory: str) -> None:
    if invocation.machine_readable:
        raise click.UsageError("this cannot be undone once it is done; say --yes")
    click.confirm(f"Forget this in memory {memory!r} for good?", abort=True)


def _verify(invocation: Invocation, path: Path, key: Path | None) -> int:
    from kalends.domain.errors import Damaged
    from kalends.wire import receipts

    trusted = None if key is None else _public_key(key)
    try:
        receipt = receipts.read(_only_receipt(path.read_bytes()))
        genuine = receipts.is_genuine(receipt, key=trusted)
    except Damaged as error:
        raise Damaged(f"{path}: {error.detail}") from error
    result = {"genuine": genuine, "erasure_id": receipt.erasure_id, "memory": receipt.memory, "key": receipt.key, "counts": receipt.counts}
    invocation.output.give(result, lambda console: _show_receipt(console, receipt, genuine=genuine, trusted=trusted is not None))
    return 0 if genuine else _FAILED


def _only_receipt(content: bytes) -> bytes:
    """The receipt in what ``forget --wait --json`` printed, or the text itself."""
    import msgspec

    try:
        found = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return content
    inner = found.get("receipt") if isinstance(found, dict) else None
    return msgspec.json.encode(inner) if isinstance(inner, dict) else content


def _public_key(path: Path) -> bytes:
    try:
        found = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (ValueError, OSError) as error:
        raise click.UsageError(f"{path} does not hold a public key in hex") from error
    return found


def _show_receipt(console: "Console", receipt: "Receipt", *, genuine: bool, trusted: bool) -> None:
    console.print("the signature is good" if genuine else "the signature is NOT good: this receipt was changed, or is another key's")
    if genuine and not trusted:
        console.print(f"it names its own key {receipt.key}; give the one that you trust with --key")
    _rows(console, {"erasure": receipt.erasure_id, "memory": receipt.memory, "selector": receipt.selector}, receipt.times, receipt.counts)


def _show(console: "Console", erasure: "Erasure") -> None:
    if erasure.dry_run:
        console.print("nothing was done (dry run); this would go:")
    if erasure.approval is not None:
        console.print(f"nothing was done yet; a second person must say: kalends approvals approve {erasure.approval.approval_id}")
    about = {"erasure": erasure.erasure_id, "state": erasure.state, "undo until (UTC)": shown(erasure.undo_until)}
    _rows(console, {name: value for name, value in about.items() if value}, erasure.times, erasure.counts)


def _rows(console: "Console", about: dict[str, str], times: dict[str, datetime], counts: dict[str, int]) -> None:
    from kalends.app.output import table

    rows: list[tuple[str, Any]] = [*about.items(), *((f"{state} (UTC)", shown(at)) for state, at in times.items()), *counts.items()]
    console.print(table(["", ""], rows))
