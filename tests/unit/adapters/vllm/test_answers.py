"""Answers are read whole or not at all."""

import base64
import json
import traceback
from typing import Any

import numpy as np
import pytest

from kalends.adapters.vllm import answers
from kalends.domain.errors import Unavailable

SECRET = "Bertrand the turtle"


def packed(*numbers: float) -> str:
    """Numbers as vLLM sends them."""
    return base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()


def sent(name: str, **fields: list[Any]) -> bytes:
    """A list of results, each with its index, the last first."""
    rows = [{"index": index, field: value} for field, values in fields.items() for index, value in enumerate(values)]
    return json.dumps({name: rows[::-1]}).encode()


def test_vectors_stand_in_the_order_of_their_texts_and_have_unit_length() -> None:
    """Whatever order they came in, and however long they were."""
    first, second = answers.vectors(sent("data", embedding=[packed(3, 4), packed(0, 2)]), count=2)

    assert first == pytest.approx([0.6, 0.8])
    assert second == pytest.approx([0, 1])


def test_token_vectors_are_rows_of_unit_length() -> None:
    """As many as there are tokens."""
    (rows,) = answers.token_vectors(sent("data", data=[packed(3, 4, 0, 2, 5, 0)]), count=1, dimension=2)

    assert rows == pytest.approx(np.array([[0.6, 0.8], [0, 1], [1, 0]], np.float32))


def test_a_vector_of_zeros_stays_one() -> None:
    """It is near nothing; and no division fails."""
    (vector,) = answers.vectors(sent("data", embedding=[packed(0, 0)]), count=1)

    assert vector == pytest.approx([0, 0])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        SECRET.encode(),
        b"\xff\xfe",
        b"[]",
        b'{"data": 5}',
        sent("data", embedding=[packed(1, 2)]),
        sent("data", embedding=[packed(1, 2)] * 3),
        b'{"data": [{"index": 0, "embedding": ""}, {"index": 0, "embedding": ""}]}',
        sent("data", embedding=[packed(1, 2), packed(1, float("nan"))]),
        sent("data", embedding=[packed(1, 2), ""]),
        sent("data", embedding=[packed(1, 2), SECRET]),
        sent("data", embedding=[packed(1, 2), "AAAA"]),
        sent("data", embedding=[[1.0], [2.0]]),
    ],
)
def test_what_is_no_answer_is_said_without_quoting_it(content: bytes) -> None:
    """Not even as the cause of an error."""
    with pytest.raises(Unavailable) as caught:
        answers.vectors(content, count=2)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_token_vectors_of_another_dimension_are_none() -> None:
    """They cannot be told apart."""
    with pytest.raises(Unavailable):
        answers.token_vectors(sent("data", data=[packed(1, 2, 3)]), count=1, dimension=2)


def test_scores_stand_in_the_order_of_the_passages() -> None:
    """On both routes."""
    assert answers.relevances(sent("results", relevance_score=[0.1, 0.9, 0.5]), count=3) == [0.1, 0.9, 0.5]
    assert answers.scores(sent("data", score=[0.1, 0.9, 0.5]), count=3) == [0.1, 0.9, 0.5]


@pytest.mark.parametrize("content", [b'{"data": [{"index": 0, "score": 1e999}]}', b'{"data": [{"index": 1, "score": 1}]}', b'{"data": []}'])
def test_scores_that_are_no_numbers_or_of_others_are_none(content: bytes) -> None:
    """A wrong order is worse than none."""
    with pytest.raises(Unavailable):
        answers.scores(content, count=1)
