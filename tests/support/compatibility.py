"""The page of what reads what, made from the formats in the code and from the files that tests open.

Belongs here: ``python -m tests.support.compatibility FILE`` (part of ``make docs``). Does not belong here: any format. A newcomer would get
wrong: a row is only there if a test opens a kept file of that format, so a format that is raised without one is missed on the page.
"""

import sys
from pathlib import Path

from kalends.adapters.embedded import calendar_tables, lexicon, shards, timeline_tables
from kalends.domain import formats
from kalends.wire import manifests

GOLDEN = Path(__file__).parents[1] / "golden"
_HEAD = """# What reads what

Made by `make docs` from the formats in the code and from the files in `tests/golden`; do not edit.

**The log** (events, nodes, records, keys, audit, receipts) has one format number. `kalends status --json` says it, `kalends admin migrate`
plans from one to another, and who opens a log of a format that it does not read is refused with words
([0040](../decisions/0040-one-format-number-for-the-log.md)).

"""


def render() -> str:
    """The page."""
    rows = ["| Format of the log | written | read | opened in the tests |", "|---|---|---|---|"]
    for number in range(formats.OLDEST, formats.WRITTEN + 1):
        kept = (GOLDEN / "data" / f"format-{number}.tar.xz").exists()
        envelopes = len(list((GOLDEN / f"v{number}").glob("*.bin")))
        proof = f"a data folder (`format-{number}.tar.xz`) and {envelopes} envelopes" if kept else "nothing is kept of it"
        rows.append(f"| {number} | {'yes' if number == formats.WRITTEN else 'no'} | yes | {proof} |")
    rows += [
        f"| {formats.WRITTEN + 1} and later | no | refused | a log that says so |",
        "",
        "**Versions side by side, and back.** Versions that read the log's format serve it together, and the one before can take over",
        "again, for as long as no record of a later format was written; from then on it refuses to start and says so. One format has been",
        "written so far. `make test-upgrade` replaces every process of a cluster under load by one of this version, and back: no write is",
        "lost or doubled, and no answer is wrong. It begins with the newest release, or with `FROM=<revision>`, whose dependencies must be",
        "those of today; while there is no release, with an earlier revision that `tests/support/earlier.py` names.",
        "",
        "**What is made from the log** has formats of its own, which bind nobody: what is of another format is built anew.",
        "",
        "| Projection | format | of another format |",
        "|---|---|---|",
        f"| timeline | {timeline_tables.SCHEMA_VERSION} | deleted and followed anew at the start |",
        f"| calendar's tables | {calendar_tables.SCHEMA_VERSION} | deleted and followed anew at the start |",
        f"| words, embedded | {lexicon.FORMAT} | deleted and built anew at the start |",
        f"| vectors, embedded | {shards.FORMAT} | deleted and built anew at the start |",
        "",
        f"**Backups** are of format {manifests.FORMAT}; a backup of another one is refused ([backup format](backup-format.md)).",
        "",
    ]
    return _HEAD + "\n".join(rows)


def main(page: Path) -> int:
    """Write the page."""
    page.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
