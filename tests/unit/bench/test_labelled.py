"""The measures of the retrieval benchmark, by hand."""

import gzip
import json
import math
from pathlib import Path

import pytest
from tests.bench import labelled


def test_recall_counts_what_is_among_the_first_ten() -> None:
    """Eleven found, the last of them relevant: it does not count; relevant events that are not found do."""
    ranking = [f"e{number}" for number in range(11)]

    assert labelled.recall(ranking, {"e0": 1, "e9": 1, "e10": 1, "elsewhere": 1}) == 0.5


def test_ndcg_is_one_for_the_best_order_and_less_for_any_other() -> None:
    """Grades count, and the discount is the logarithm of the rank."""
    relevant = {"a": 2, "b": 1}

    assert labelled.ndcg(["a", "b", "c"], relevant) == 1.0
    assert labelled.ndcg(["b", "a"], relevant) == pytest.approx((1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3)))
    assert labelled.ndcg(["c"], relevant) == 0.0


def test_questions_without_evidence_are_not_asked_and_their_haystacks_are_stored(tmp_path: Path) -> None:
    """An abstention question's sessions are among those of all others, as upstream has them."""

    def record(name: str, session: str) -> dict[str, object]:
        said = [{"role": "user", "content": f"about {session}", "has_answer": True}, {"role": "assistant", "content": "well"}]
        haystack = {"haystack_session_ids": [session], "haystack_dates": ["2023/05/20 (Sat) 02:21"], "haystack_sessions": [said]}
        return {"question_id": name, "question": f"{name}?", "answer_session_ids": [session], **haystack}

    folder = tmp_path / "longmemeval_oracle"
    folder.mkdir()
    (folder / "longmemeval_oracle.json.gz").write_bytes(gzip.compress(json.dumps([record("q1", "s1"), record("q2_abs", "s2")]).encode()))

    (sessions,) = labelled.read("longmemeval sessions", tmp_path)
    (turns,) = labelled.read("longmemeval turns", tmp_path)

    assert [dict(question.relevant) for question in sessions.questions] == [{"s1": 1}]
    assert [one["text"] for one in sessions.items.values()] == ["about s1", "about s2"]
    assert [dict(question.relevant) for question in turns.questions] == [{"s1_0": 1}]
    assert list(turns.items) == ["s1_0", "s1_1", "s2_0", "s2_1"]


def test_a_part_of_a_collection_asks_only_what_it_can_answer_whole() -> None:
    """A question with evidence beyond the part would count against every ranking."""
    questions = [labelled.Question(text="here?", relevant={"a": 1}), labelled.Question(text="beyond?", relevant={"a": 1, "c": 1})]
    whole = labelled.Collection(name="x", items={"a": {}, "b": {}, "c": {}}, questions=questions)

    part = labelled.first(whole, 2)

    assert list(part.items) == ["a", "b"]
    assert [question.text for question in part.questions] == ["here?"]
