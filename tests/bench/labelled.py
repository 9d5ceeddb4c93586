"""Public collections with questions and relevant events, as the API takes them.

Belongs here: reading the files and scoring a ranking. Does not belong here: asking (``retrieval``). A newcomer would get wrong: the files
are not part of this repository, and the questions that have no evidence are not asked.
"""

import gzip
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

NAMES = ("locomo", "longmemeval sessions", "longmemeval turns", "scifact")

_EVIDENCE = re.compile(r"D:?(\d+):(\d+)")
_ADVERSARIAL = 5
_ROLES = frozenset({"user", "assistant", "system", "tool"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question and how relevant which events are, by their ids in the collection."""

    text: str
    relevant: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What one memory holds, as items of the API by their id in the collection, and what it is asked."""

    name: str
    items: Mapping[str, Mapping[str, Any]]
    questions: Sequence[Question]


def read(name: str, folder: Path) -> list[Collection]:
    """The collections of the data set *name*; the files are below *folder*."""
    if name == "locomo":
        return list(_locomo(folder / "locomo" / "locomo10.json"))
    if name.startswith("longmemeval"):
        return [_longmemeval(folder / "longmemeval_oracle" / "longmemeval_oracle.json.gz", turns=name.endswith("turns"))]
    return [_scifact(folder / "scifact")]


def first(collection: Collection, most: int) -> Collection:
    """The first *most* events, and the questions that they answer whole."""
    items = dict(islice(collection.items.items(), most))
    questions = [question for question in collection.questions if question.relevant.keys() <= items.keys()]
    return Collection(name=collection.name, items=items, questions=questions)


def recall(ranking: Sequence[str], relevant: Mapping[str, int], *, k: int = 10) -> float:
    """The share of the relevant events that are among the first *k*."""
    return len(set(ranking[:k]) & relevant.keys()) / len(relevant)


def ndcg(ranking: Sequence[str], relevant: Mapping[str, int], *, k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first *k*."""
    best = _gain(sorted(relevant.values(), reverse=True)[:k])
    return _gain([relevant.get(event, 0) for event in ranking[:k]]) / best


METRICS: Mapping[str, Callable[[Sequence[str], Mapping[str, int]], float]] = {"R@10": recall, "nDCG@10": ndcg}


def _gain(grades: Sequence[int]) -> float:
    return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, start=1))


def _item(text: str, *, session: str, speaker: str = "", at: datetime | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"session_id": session, "kind": "message", "role": speaker if speaker in _ROLES else "user", "text": text}
    if speaker and speaker not in _ROLES:
        made["actor"] = speaker
    if at is not None:
        made["occurred_at"] = at.replace(tzinfo=UTC).isoformat()
    return made


def _locomo(path: Path) -> Iterator[Collection]:
    for sample in json.loads(path.read_text(encoding="utf-8")):
        talk = sample["conversation"]
        items = {}
        for number in sorted(int(key.split("_")[1]) for key in talk if re.fullmatch(r"session_\d+", key)):
            at = datetime.strptime(talk[f"session_{number}_date_time"], "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
            for turn in talk[f"session_{number}"]:
                caption = turn.get("blip_caption")
                text = f"{turn['text']} [image: {caption}]" if caption else turn["text"]
                items[turn["dia_id"]] = _item(text, session=f"session_{number}", speaker=turn["speaker"], at=at)
        questions = []
        for asked in sample["qa"]:
            evidence = {f"D{int(session)}:{int(turn)}" for session, turn in _EVIDENCE.findall(" ".join(asked.get("evidence", ())))}
            relevant = dict.fromkeys(evidence & items.keys(), 1)
            if relevant and asked["category"] != _ADVERSARIAL:
                questions.append(Question(text=asked["question"], relevant=relevant))
        yield Collection(name=sample["sample_id"], items=items, questions=questions)


def _longmemeval(path: Path, *, turns: bool) -> Collection:
    """All haystacks of evidence as one memory; an event is a turn, or what the user said in a session."""
    items: dict[str, Mapping[str, Any]] = {}
    questions = []
    for record in _records(path):
        relevant = [] if turns else list(record["answer_session_ids"])
        for session, date, said in zip(record["haystack_session_ids"], record["haystack_dates"], record["haystack_sessions"], strict=True):
            at = datetime.strptime(re.sub(r" \(\w+\)", "", date), "%Y/%m/%d %H:%M").replace(tzinfo=UTC)
            if not turns:
                text = "\n".join(turn["content"] for turn in said if turn["role"] == "user")
                items[session] = _item(text, session=session, speaker="user", at=at)
                continue
            for number, turn in enumerate(said):
                items[f"{session}_{number}"] = _item(turn["content"], session=session, speaker=turn["role"], at=at)
                relevant += [f"{session}_{number}"] if turn.get("has_answer") else []
        # upstream's abstention questions have haystacks and no evidence
        if relevant and not record["question_id"].endswith("_abs"):
            questions.append(Question(text=record["question"], relevant=dict.fromkeys(relevant, 1)))
    return Collection(name="turns" if turns else "sessions", items=items, questions=questions)


def _scifact(folder: Path) -> Collection:
    relevant: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        question, document, grade = line.split("\t")
        if int(grade) > 0:
            relevant.setdefault(question, {})[document] = int(grade)
    items = {
        row["_id"]: _item(f"{row.get('title', '')}\n{row['text']}".strip(), session=row["_id"])
        for row in _records(folder / "corpus.jsonl.gz")
    }
    asked = _records(folder / "queries.jsonl")
    questions = [Question(text=row["text"], relevant=relevant[row["_id"]]) for row in asked if row["_id"] in relevant]
    return Collection(name="scifact", items=items, questions=questions)


def _records(path: Path) -> list[dict[str, Any]]:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
    found: list[dict[str, Any]] = json.loads(text) if ".jsonl" not in path.name else [json.loads(line) for line in text.splitlines()]
    return found
