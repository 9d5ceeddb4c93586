"""The section ``restore``: how long it takes from a lost installation to one that serves again, of a backup of many events.

Belongs here: the procedure. Does not belong here: starting an instance (``instance``) or printing (``report``). A newcomer would get wrong:
what is restored is served before it can be searched whole: events are read as soon as the log is there, and the projections follow.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench.instance import Instance, bare_environment
from tests.bench.report import Report, Row

_BATCH = 500
_LONGEST_S = 7200.0
_LOOK_S = 0.1


def measure(folder: Path, report: Report, *, events: int) -> None:
    """Backup, verification, restore into an empty folder, start, and until everything can be found."""
    section = f"Restore of {events:,} events into an empty folder, after everything but backups and key was lost"
    data, kept = folder / "restore-lost", folder / "restore-kept"
    settings = {"KALENDS_BACKUP__FOLDER": str(kept)}

    def row(name: str, value: float, unit: str = "s", note: str = "") -> None:
        report.add(Row(section=section, name=name, value=value, unit=unit, note=note))

    with Instance(data, settings=settings) as instance:
        sent = instance.load(kind="append", clients=4, batch=_BATCH, requests=events // _BATCH, expect='"new"', seconds=_LONGEST_S)
        if sent.unexpected:
            raise RuntimeError(f"not everything was stored: {sent.statuses}")
        made = _done(instance, "/v1/admin/backups", {"all": True})
        size = sum(path.stat().st_size for path in kept.rglob("*") if path.is_file()) / (1 << 20)
        row("backup, while the projections index", made[1], note=f"{size:.1f} MiB")
        row("checked, every byte and every seal", _done(instance, "/v1/admin/verifications", {"backup_id": made[0], "deep": True})[1])
    key = (data / "keys" / "kek").read_bytes()
    shutil.rmtree(data)
    (data / "keys").mkdir(parents=True, mode=0o700)
    (data / "keys" / "kek").write_bytes(key)
    (data / "keys" / "kek").chmod(0o600)

    started = time.perf_counter()
    command = [sys.executable, "-m", "kalends.app.cli", "backup", "restore", made[0], "--into-empty", "--data", str(data)]
    subprocess.run([*command, "--folder", str(kept)], env=bare_environment(), check=True, capture_output=True)
    restored = time.perf_counter()
    row("restored, from the command to its end", restored - started, note=f"{events / (restored - started):,.0f} events/s")
    with Instance(data, settings=settings) as instance:
        row(
            "RTO: until it takes and answers requests", time.perf_counter() - started, note=f"the start took {instance.start_s:.1f} s of it"
        )
        instance.wait_indexed(seconds=_LONGEST_S)
        row("until every projection has everything", time.perf_counter() - started)
    shutil.rmtree(data)
    shutil.rmtree(kept)


def _done(instance: Instance, path: str, body: dict[str, Any]) -> tuple[str, float]:
    """Ask for an operation and wait for its end; its id, and how long it took."""
    started = time.perf_counter()
    begun: str = instance.ask("POST", path, body)["operation_id"]
    while True:
        told = instance.ask("GET", f"/v1/operations/{begun}")
        if told["state"] not in {"queued", "running"}:
            break
        time.sleep(_LOOK_S)
    if told["state"] != "succeeded":
        raise RuntimeError(f"{path}: {told['error']}")
    return begun, time.perf_counter() - started
