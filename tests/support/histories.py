"""Real histories as events: the demonstration's, and public conversations where the shared data is at hand.

Belongs here: reading files into the API's items, with the dates that they have. Does not belong here: what is asked of them. A newcomer
would get wrong: the public files are not part of this repository; without them only the demonstration's history is read, and a test says
so.
"""

import gzip
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kalends
from kalends.domain.events import digest_id

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "eval" / "data"
LOCOMO = SHARED / "locomo" / "locomo10.json"
LONGMEMEVAL = SHARED / "longmemeval_oracle" / "longmemeval_oracle.json.gz"

Item = dict[str, Any]


def demonstration() -> list[Item]:
    """The history that the demonstration tells."""
    lines = (Path(kalends.__file__).parent / "app" / "demo" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def locomo(conversations: int = 10) -> list[Item]:
    """The first *conversations* of LoCoMo; its turns have their session's time and follow each other by a minute."""
    return [
        item
        for number, sample in enumerate(json.loads(LOCOMO.read_text(encoding="utf-8"))[:conversations])
        for item in _conversation(number, sample["conversation"])
    ]


def longmemeval(questions: int = 10_000) -> list[Item]:
    """The sessions of the first *questions* of LongMemEval, each session once."""
    with gzip.open(LONGMEMEVAL, "rt", encoding="utf-8") as file:
        records = json.load(file)[:questions]
    found: dict[str, Item] = {}
    for record in records:
        sessions = zip(record["haystack_session_ids"], record["haystack_dates"], record["haystack_sessions"], strict=True)
        for name, date, turns in sessions:
            start = datetime.strptime(re.sub(r" \(\w+\)", "", date), "%Y/%m/%d %H:%M").replace(tzinfo=UTC)
            for number, turn in enumerate(turns):
                item = _item(f"lme-{name}", number, turn["content"], start, role=turn["role"])
                found.setdefault(item["event_id"], item)
    return list(found.values())


def _conversation(number: int, conversation: dict[str, Any]) -> Iterator[Item]:
    for key in (key for key in conversation if re.fullmatch(r"session_\d+", key)):
        start = datetime.strptime(conversation[f"{key}_date_time"], "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
        for place, turn in enumerate(conversation[key]):
            caption = turn.get("blip_caption")
            text = f"{turn['text']} [image: {caption}]" if caption else turn["text"]
            yield _item(f"locomo-{number}-{key}", place, text, start, actor=turn["speaker"])


def _item(session: str, number: int, text: str, start: datetime, **more: str) -> Item:
    return {
        "event_id": digest_id("history", session, str(number)),
        "session_id": session,
        "kind": "message",
        "role": "user",
        "text": text.replace("\0", "") or "…",
        "occurred_at": (start + timedelta(minutes=number)).isoformat(),
        **more,
    }
