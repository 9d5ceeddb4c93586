"""What is measured by standing in between: calls, seconds and tokens of models, and the disk."""

import asyncio

import numpy as np
import pytest

from kalends.app import metering
from kalends.app.metering import MeteredChat, MeteredEmbedder, MeteredReranker
from kalends.domain.errors import Unavailable
from kalends.edge.metrics import new_metrics
from kalends.ports.chat import Completion
from kalends.ports.models import Question
from kalends.ports.vectors import Window


class Model:
    """Every kind of model; fails while ``error`` is set."""

    identity, dimension, failure, failing_since = "model-1", 3, None, None

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def _answer(self, value):
        if self.error is not None:
            raise self.error
        return value

    async def embed(self, texts):
        window = Window(dense=np.zeros(3, np.float32), tokens=np.zeros((4, 3), np.float32))
        return self._answer([[window, window] for _ in texts])

    async def embed_query(self, _):
        return self._answer(Question(dense=np.zeros(3, np.float32), tokens=np.zeros((5, 3), np.float32), spans=((0, 0),) * 5))

    async def scores(self, _, passages):
        return self._answer([1.0 for _ in passages])

    async def complete(self, _system, _user, **_):
        return self._answer(Completion(text="{}", tokens=70))


@pytest.fixture
def metrics():
    """A fresh set."""
    return new_metrics(version="0")


def calls(metrics, model) -> dict[str, float]:
    """How many calls of *model* ended in which way."""
    [family] = [one for one in metrics.registry.collect() if one.name == "kalends_model_calls"]
    samples = [one for one in family.samples if one.name.endswith("_total") and one.labels["model"] == model]
    return {one.labels["outcome"]: one.value for one in samples}


async def test_calls_are_counted_with_what_they_read_and_wrote(metrics):
    """Tokens as far as a model tells: rows of token vectors, or what a chat server says."""
    model = Model()
    embedder, reranker, chat = MeteredEmbedder(model, metrics), MeteredReranker(model, metrics), MeteredChat(model, metrics)
    assert len(await embedder.embed(["a", "b"])) == 2
    assert len((await embedder.embed_query("a")).tokens) == 5
    assert await reranker.scores("q", ["a"]) == [1.0]
    assert (await chat.complete("s", "u", schema={}, max_tokens=9)).tokens == 70

    tokens = {name: metrics.registry.get_sample_value("kalends_model_tokens_total", {"model": name}) for name in ("embedder", "chat")}
    assert tokens == {"embedder": 2 * 2 * 4 + 5, "chat": 70}
    assert (calls(metrics, "embedder"), calls(metrics, "reranker"), calls(metrics, "chat")) == ({"ok": 2}, {"ok": 1}, {"ok": 1})
    assert metrics.registry.get_sample_value("kalends_model_duration_seconds_count", {"model": "embedder"}) == 2


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(Unavailable("away", dependency="model"), "unavailable"), (asyncio.CancelledError(), "cancelled"), (ValueError("?"), "internal")],
)
async def test_a_call_that_fails_is_counted_by_how_and_its_error_passes(metrics, error, outcome):
    """And no tokens are."""
    model = Model()
    model.error = error
    with pytest.raises(type(error)):
        await MeteredEmbedder(model, metrics).embed(["a"])

    assert calls(metrics, "embedder") == {outcome: 1}
    assert metrics.registry.get_sample_value("kalends_model_tokens_total", {"model": "embedder"}) == 0


def test_a_metered_model_is_what_it_stands_for(metrics):
    """Its name, and how it is."""
    model = Model()
    model.failure, model.failing_since = Unavailable("away", dependency="model"), "2026-01-01T00:00:00Z"
    embedder = MeteredEmbedder(model, metrics)

    assert (embedder.identity, embedder.dimension) == ("model-1", 3)
    assert (embedder.failure, embedder.failing_since) == (model.failure, model.failing_since)
    assert MeteredChat(model, metrics).identity == MeteredReranker(model, metrics).identity == "model-1"


def test_the_room_is_that_of_the_folders_disk(tmp_path):
    """And nothing is told of a folder that does not exist."""
    room = metering.room_of(tmp_path)

    assert room is not None
    assert 0 < room.free <= room.size
    assert metering.room_of(tmp_path / "absent") is None
