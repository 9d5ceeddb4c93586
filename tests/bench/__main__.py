"""`python -m tests.bench`: run the benchmarks and print the report; see docs/benchmarks.md for how to read it.

Belongs here: arguments. Does not belong here: measuring (``sections``). A newcomer would get wrong: the whole run takes about fifty
minutes, most of them spent embedding 150,000 events; ``--events 6000 --calendar 6000`` leaves that out.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import msgspec

from tests.bench import report, sections


def main() -> None:
    """Run what was chosen."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Benchmarks of a whole instance through HTTP.")
    parser.add_argument("--only", default=",".join(sections.NAMES), help="comma-separated sections of " + ", ".join(sections.NAMES))
    parser.add_argument("--events", default="6000,50000", help="comma-separated sizes of the memory that is searched")
    parser.add_argument("--questions", type=int, default=200, help="questions of one search load")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each ingest load; the best one counts")
    parser.add_argument("--calendar", type=int, default=100_000, help="events whose calendar is written")
    parser.add_argument("--restored", type=int, default=100_000, help="events that are lost and restored")
    parser.add_argument("--folder", type=Path, help="where instances keep their data while they are measured; default: a temporary folder")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    chosen = parser.parse_args()
    only = [name.strip() for name in chosen.only.split(",")]
    unknown = sorted(set(only) - set(sections.NAMES))
    if unknown:
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(sections.NAMES)}")
    sizes = sorted(int(size) for size in chosen.events.split(","))
    folder = Path(tempfile.mkdtemp(prefix="kalends-bench-", dir=chosen.folder))
    told = report.Report()
    told.say(report.machine())
    started = time.perf_counter()
    try:
        bench = sections.Bench(
            folder=folder,
            report=told,
            sections=only,
            sizes=sizes,
            questions=chosen.questions,
            repeats=chosen.repeats,
            calendar_events=chosen.calendar,
            restored_events=chosen.restored,
        )
        bench.run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    told.say(f"\n{time.perf_counter() - started:.0f} s in all; after it: {report.machine().rpartition('; ')[2].replace('before', 'then')}")
    if chosen.json:
        chosen.json.write_bytes(msgspec.json.format(msgspec.json.encode(told.rows)))


if __name__ == "__main__":
    main()
