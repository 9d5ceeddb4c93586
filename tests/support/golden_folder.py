"""Data folders as earlier versions left them: making the one of today, packing it, and unpacking those that are kept.

Belongs here: ``python -m tests.support.golden_folder MODELS``, which writes ``tests/golden/data/format-N.tar.xz`` and what it holds. Does
not belong here: opening one (``tests/platform/test_golden_folders``). A newcomer would get wrong: their key is a test vector, and must
be in place before the first start, for the seal of the log is made with it.
"""

import json
import sys
import tarfile
import tempfile
from pathlib import Path

from kalends.domain import formats
from tests.support import verdicts
from tests.support.api import Api
from tests.support.instance import Instance
from tests.support.keys import TEST_KEY

FOLDER = Path(__file__).parents[1] / "golden" / "data"
MEMORY = "golden"
_LEFT_OUT = frozenset({"vector", "token", "instance.json", "lock", "models", "broker.conf", "broker.pid", "broker.err", "broker.log"})
"""What a start makes anew (vectors too: their files are made of holes, 300 MB of them), or what would look like a secret."""

SAID = (
    ("s1", "2024-03-01T08:00:00Z", "The harbour pilot boards at pier nine."),
    ("s1", "2024-03-01T08:05:00Z", "Tugs are ordered for the afternoon tide."),
    ("s1", "2024-03-01T08:09:00Z", "Fog delays the ferry until noon."),
    ("s2", "2024-03-02T10:00:00Z", "The heron eats fish by the old mill."),
    ("s2", "2024-03-02T10:02:00Z", "Ünïcödé 日本語 🚢 stays as it was said."),
    ("s2", "2024-03-02T10:03:00Z", "Nobody knows who repaired the lighthouse lamp."),
)


def prepare_key(data: Path) -> None:
    """Put the key of all golden folders into *data*."""
    (data / "keys").mkdir(parents=True, mode=0o700, exist_ok=True)
    (data / "keys" / "kek").write_bytes(TEST_KEY)
    (data / "keys" / "kek").chmod(0o600)


def unpack(archive: Path, data: Path) -> None:
    """The folder of *archive* at *data*."""
    with tarfile.open(archive) as packed:
        packed.extractall(data, filter="data")
    prepare_key(data)


def shown(api: Api) -> dict[str, object]:
    """What a memory tells of itself, in words that do not change with the time."""
    events = [{name: event[name] for name in ("event_id", "session_id", "occurred_at", "text")} for event in api.events(MEMORY)]
    documents = [one["document_id"] for one in api.good("GET", f"/memories/{MEMORY}/documents")["items"]]
    found = api.good("POST", f"/memories/{MEMORY}/search", {"query": "who repaired the lamp of the lighthouse?", "limit": 1})
    years = [one["node_id"] for one in api.good("GET", f"/memories/{MEMORY}/toc")["items"]]
    return {"events": events, "documents": documents, "best": [hit["text"] for hit in found["hits"]], "years": years}


def main(models: Path) -> int:
    """Write the folder of the present format; one that is there is not touched."""
    archive = FOLDER / f"format-{formats.WRITTEN}.tar.xz"
    if archive.exists():
        sys.stderr.write(f"{archive} is kept as it was written; delete it first\n")
        return 1
    with tempfile.TemporaryDirectory() as scratch, Instance(Path(scratch) / "data") as instance:
        prepare_key(instance.data)
        (instance.data / "models").symlink_to(models)
        instance.start()
        with verdicts.api_of(instance) as api:
            api.make_memory(MEMORY)
            events = [
                {
                    "event_id": f"01HQ{number:022d}",
                    "session_id": session,
                    "occurred_at": at,
                    "kind": "message",
                    "role": "user",
                    "text": text,
                }
                for number, (session, at, text) in enumerate(SAID)
            ]
            assert api.append(MEMORY, events).status == 202
            api.good("POST", f"/memories/{MEMORY}/documents", {"document_id": "tides", "text": "# Tides\n\nHigh at noon."})
            verdicts.calendar_done(api)
            expected = shown(api)
        assert instance.terminate() == 0
        FOLDER.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "w:xz") as packed:
            for path in sorted(instance.data.rglob("*")):
                parts = path.relative_to(instance.data).parts
                if not _LEFT_OUT & {*parts} and parts[0] != "keys" and path.is_file() and not path.is_symlink():
                    packed.add(path, arcname="/".join(parts), recursive=False)
    text = json.dumps(expected, indent=2, ensure_ascii=False)
    archive.with_suffix("").with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
