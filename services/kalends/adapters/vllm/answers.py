"""Answers of vLLM's API, read.

Belongs here: shapes, and turning them into arrays and numbers that can be trusted. Does not belong here: HTTP, or whose answer it is: an
error here says only why it is none. A newcomer would get wrong: it is never raised "from" the decoder's, whose text quotes the answer; and
what comes back is checked for number, order and finiteness, because a wrong vector is worse than none.
"""

import base64
import binascii
import math
from collections.abc import Sequence
from typing import TypeVar

import msgspec
import numpy as np

from kalends.domain.errors import Unavailable
from kalends.ports.vectors import Array

S = TypeVar("S")


class Served(msgspec.Struct):
    """One model of ``/v1/models``."""

    id: str
    max_model_len: int | None = None


class ServedModels(msgspec.Struct):
    """The answer of ``/v1/models``."""

    data: list[Served]


class Tokens(msgspec.Struct):
    """The answer of ``/tokenize``."""

    tokens: list[int]
    token_strs: list[str] | None = None


class _Embedding(msgspec.Struct):
    index: int
    embedding: str


class _Embeddings(msgspec.Struct):
    data: list[_Embedding]


class _Pooled(msgspec.Struct):
    index: int
    data: str


class _Poolings(msgspec.Struct):
    data: list[_Pooled]


class _Relevance(msgspec.Struct):
    index: int
    relevance_score: float


class _Reranked(msgspec.Struct):
    results: list[_Relevance]


class _Score(msgspec.Struct):
    index: int
    score: float


class _Scores(msgspec.Struct):
    data: list[_Score]


def decoded(content: bytes, shape: type[S]) -> S:
    """*content* as *shape*.

    Raises:
        Unavailable: it is something else.
    """
    try:
        return msgspec.json.decode(content, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = type(error).__name__
    raise Unavailable(reason)


def vectors(content: bytes, *, count: int) -> list[Array]:
    """The unit vectors (dimension,) of *count* texts, in their order, from ``/v1/embeddings`` in base64.

    Raises:
        Unavailable: others came back, or something else.
    """
    found = {one.index: one.embedding for one in decoded(content, _Embeddings).data}
    return [_units(_floats(text)[None, :])[0] for text in _in_order(found, count=count)]


def token_vectors(content: bytes, *, count: int, dimension: int) -> list[Array]:
    """The unit token vectors (tokens, dimension) of *count* texts, in their order, from ``/pooling`` in base64.

    Raises:
        Unavailable: others came back, of another dimension, or something else.
    """
    found = {one.index: one.data for one in decoded(content, _Poolings).data}
    matrices = []
    for text in _in_order(found, count=count):
        flat = _floats(text)
        if flat.size == 0 or flat.size % dimension:
            raise Unavailable("token vectors of another dimension")
        matrices.append(_units(flat.reshape(-1, dimension)))
    return matrices


def relevances(content: bytes, *, count: int) -> list[float]:
    """The scores of *count* passages, in their order, from ``/rerank``, which sorts them.

    Raises:
        Unavailable: others came back, or something else.
    """
    return _numbers({one.index: one.relevance_score for one in decoded(content, _Reranked).results}, count=count)


def scores(content: bytes, *, count: int) -> list[float]:
    """The scores of *count* passages, in their order, from ``/score``.

    Raises:
        Unavailable: others came back, or something else.
    """
    return _numbers({one.index: one.score for one in decoded(content, _Scores).data}, count=count)


def _numbers(found: dict[int, float], *, count: int) -> list[float]:
    numbers = _in_order(found, count=count)
    if not all(map(math.isfinite, numbers)):
        raise Unavailable("a score that is no number")
    return numbers


def _in_order(found: dict[int, S], *, count: int) -> list[S]:
    if set(found) != set(range(count)):
        raise Unavailable(f"{len(found)} results for {count} texts")
    return [found[index] for index in range(count)]


def _floats(text: str) -> Array:
    try:
        flat = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4")
    except (binascii.Error, ValueError) as error:
        reason = type(error).__name__
    else:
        if flat.size and np.isfinite(flat).all():
            return flat.astype(np.float32)
        reason = "a vector that is none"
    raise Unavailable(reason)


def _units(rows: Array) -> Array:
    lengths: Sequence[float] = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-9), dtype=np.float32)
