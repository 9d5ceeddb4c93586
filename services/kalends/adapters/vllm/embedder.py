"""The embedder over vLLM: ``/v1/embeddings``, and ``/pooling`` for token vectors where a server gives them.

Belongs here: windows of long texts, batches, the check of what is served. Does not belong here: how a call travels (``connection``). A
newcomer would get wrong: a vLLM server of today pools in one way only, so one that embeds gives no token vectors; those come from a second
server of the same model (``embedder.token_urls``), or not at all.
"""

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import structlog

from kalends.adapters.vllm import answers, windows
from kalends.adapters.vllm.connection import ModelConnection, open_connection
from kalends.adapters.vllm.served import ServedModel, check_name, checked
from kalends.domain.errors import DeadlineExceeded, Invalid, KalendsError, Misconfigured, Unavailable
from kalends.kit import tasks
from kalends.ports.models import Question
from kalends.ports.vectors import Array, Window
from kalends.settings import EmbedderSettings

log = structlog.get_logger(__name__)

A = TypeVar("A")
T = TypeVar("T")

MOST_TEXTS = 64
"""Windows in one request; more gain nothing on a server that batches by itself."""

REMEMBERED_QUERIES = 256

_NOT_THERE = 404
_NOT_OFFERED = frozenset({400, 404, 405, 501})
"""How servers say that they have no such route, or no such way of pooling."""

_PROBE = "The lighthouse keeper wrote a letter."
_SAME = 0.99
"""The least cosine of the probe's vectors before and after an outage; another precision of the same weights stays above it."""

_VECTOR_BYTES = 6
"""A float takes 5.3 bytes in base64."""

_ITEM_BYTES = 256
_ANSWER_BYTES = 1 << 16
_BYTES_PER_TOKEN = 64
"""A token's id and string in the answer of a tokenizer, at most, for every byte of the text."""

_USUAL_MARKS = 2


def identity_of(settings: EmbedderSettings) -> str:
    """The identity of the model that *settings* name: served name and dimension; known without asking."""
    name = re.sub(r"[^a-z0-9]+", "-", settings.model.lower()).strip("-")
    return f"vllm-{name}-{settings.dimension}"


First = Callable[[str, Sequence[float]], Awaitable[Sequence[float]]]


@dataclass(frozen=True, slots=True)
class _Piece:
    """One window: of which text, what is sent (token ids, or text where no tokenizer answers), and about how many tokens it has."""

    text: int
    sent: Sequence[int] | str
    tokens: int


class VllmEmbedder:
    """Sentence vectors of a served model, and its token vectors where they are offered; see ``ports.models.Embedder``.

    *tokens* is the connection to the servers that pool by token, None for none. *first* is told the identity and what a fixed sentence
    gives, and says what that gave when any process first met the model.
    """

    def __init__(
        self, dense: ModelConnection, *, tokens: ModelConnection | None, settings: EmbedderSettings, first: First | None = None
    ) -> None:
        self._dense = dense
        self._by_token = tokens
        self._settings = settings
        self._served = ServedModel(self._check, dependency=dense.dependency)
        self._queries: OrderedDict[str, Question] = OrderedDict()
        self._marks: windows.Marks | None = None
        self._with_tokens = False
        self._fingerprint: Array | None = None
        self._first = first

    @property
    def identity(self) -> str:
        """Served name and dimension."""
        return identity_of(self._settings)

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._settings.dimension

    @property
    def failure(self) -> KalendsError | None:
        """What is wrong with the model now, if anything."""
        return self._served.failure

    @property
    def failing_since(self) -> str | None:
        """Since when, in ISO 8601."""
        return self._served.failing_since

    async def warm(self) -> None:
        """Look at what is served; a failure is kept in ``failure`` and the look repeated later."""
        await self._served.warm()

    async def close(self) -> None:
        """End the connections."""
        await self._dense.close()
        if self._by_token is not None:
            await self._by_token.close()

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[Window]]:
        """The windows of each text, in order.

        Raises:
            Unavailable, DeadlineExceeded: the model cannot be had now. Invalid: it is there and refuses one of the texts.
        """
        if not texts:
            return []
        try:
            async with self._served.using():
                return await self._embed(texts)
        except Invalid:
            # a server that refuses everything since it was started otherwise must not cost a single text its place in the index
            await self._served.again()
            raise

    async def embed_query(self, text: str) -> Question:
        """A question, cut at the model's limit; the last few hundred are remembered.

        Raises:
            Unavailable, DeadlineExceeded: the model cannot be had now, or refuses this question.
        """
        question = self._queries.get(text)
        if question is None:
            try:
                async with self._served.using():
                    question = await self._question(text)
            except Invalid as error:
                # whoever asks can do without, and has broken no rule
                raise Unavailable(error.detail, dependency=self._dense.dependency) from error
            if self._with_tokens and not len(question.tokens):
                return question  # the servers of token vectors may be back for the next one
        self._queries[text] = question
        self._queries.move_to_end(text)
        if len(self._queries) > REMEMBERED_QUERIES:
            self._queries.popitem(last=False)
        return question

    async def _embed(self, texts: Sequence[str]) -> list[list[Window]]:
        cut = await self._each(self._pieces, list(enumerate(texts)))
        pieces = [piece for found in cut for piece in found]
        batches = _batches(pieces, tokens=self._settings.batch_tokens)
        made = await self._each(self._windows, [[pieces[index] for index in batch] for batch in batches])
        placed = {index: window for batch, found in zip(batches, made, strict=True) for index, window in zip(batch, found, strict=True)}
        found_of: list[list[Window]] = [[] for _ in texts]
        for index, piece in enumerate(pieces):
            found_of[piece.text].append(placed[index])
        return found_of

    async def _each(self, call: Callable[[A], Awaitable[T]], items: Sequence[A]) -> list[T]:
        """What *call* gives for each of *items*, in order; so many at once as the settings allow."""
        waiting = iter(enumerate(items))
        found: dict[int, T] = {}

        async def work() -> None:
            for index, item in waiting:
                found[index] = await call(item)

        try:
            async with tasks.group() as group:
                for _ in range(min(self._settings.concurrency, len(items))):
                    group.create_task(work(), name="vllm.embed")
        except ExceptionGroup as failures:
            ours, others = failures.split(KalendsError)
            if ours is None or others is not None:
                raise
            # several calls saw the same outage
            raise ours.exceptions[0] from failures
        return [found[index] for index in range(len(items))]

    async def _pieces(self, numbered: tuple[int, str]) -> list[_Piece]:
        """The windows of a text; only one that may be too long is worth a call of the tokenizer."""
        index, text = numbered
        marks = self._marks
        if marks is None:
            longest = self._settings.max_tokens - _USUAL_MARKS
            return [_Piece(index, cut, len(cut) // windows.CHARS_PER_TOKEN) for cut in windows.cut_text(text, longest=longest)]
        text, longest = marks.broken(text), self._settings.max_tokens - marks.count
        size = len(text.encode())
        if size <= longest:
            # no token has less than a byte
            return [_Piece(index, text, marks.count + size // windows.CHARS_PER_TOKEN)]
        content = marks.without((await self._tokens(text)).tokens)
        cuts = [marks.around(cut) for cut in windows.cut_ids(content, longest=longest)]
        return [_Piece(index, cut, len(cut)) for cut in cuts]

    async def _windows(self, batch: Sequence[_Piece]) -> list[Window]:
        """The windows of a batch; without content tokens the sentence vector stands in for them, as in the embedded model."""
        sent = [piece.sent for piece in batch]
        dense = await self._vectors(sent)
        if not self._with_tokens or self._marks is None:
            return [Window(dense=vector, tokens=self._no_rows()) for vector in dense]
        marks = self._marks
        made = []
        for vector, rows in zip(dense, await self._rows(sent), strict=True):
            content = rows[len(marks.before) : len(rows) - len(marks.after)]
            made.append(Window(dense=vector, tokens=content if len(content) else vector[None, :]))
        return made

    async def _question(self, text: str) -> Question:
        marks = self._marks
        if marks is None or not self._with_tokens:
            (dense,) = await self._vectors([text if marks is None else marks.broken(text)], urgent=True)
            return Question(dense=dense, tokens=self._no_rows(), spans=())
        found = await self._tokens(marks.broken(text), strings=True, urgent=True)
        ids = marks.around(marks.without(found.tokens)[: self._settings.max_tokens - marks.count])
        async with tasks.group() as group:
            asked = group.create_task(self._vectors([ids], urgent=True), name="vllm.question")
            rows = await self._rows_or_none(ids)
        (dense,) = await asked
        strings = found.token_strs or []
        if rows is None or len(strings) != len(found.tokens):
            return Question(dense=dense, tokens=self._no_rows(), spans=())
        kept = [*strings[: len(ids) - len(marks.after)], *strings[len(strings) - len(marks.after) :]]
        return Question(dense=dense, tokens=rows, spans=windows.spans_of(text, kept, marks=marks))

    async def _rows_or_none(self, ids: Sequence[int]) -> Array | None:
        """The token vectors of a question; without them it is answered by its sentence vector, so their outage is none of the model's."""
        try:
            (rows,) = await self._rows([ids], urgent=True)
        except KalendsError as error:
            log.warning("no token vectors", model=self._settings.model, kind=error.code)
            return None
        return rows

    def _no_rows(self) -> Array:
        return np.empty((0, self._settings.dimension), np.float32)

    async def _vectors(self, sent: Sequence[Sequence[int] | str], *, urgent: bool = False) -> list[Array]:
        """The sentence vector of each."""
        settings = self._settings

        def read(content: bytes) -> list[Array]:
            found = answers.vectors(content, count=len(sent))
            for vector in found:
                if len(vector) != settings.dimension:
                    raise Misconfigured(f"{settings.model} gives vectors of {len(vector)} numbers, and not of {settings.dimension}")
            return found

        most = len(sent) * (settings.dimension * _VECTOR_BYTES + _ITEM_BYTES) + _ANSWER_BYTES
        return await self._asked(self._dense, "/v1/embeddings", self._body(sent), read, most_bytes=most, urgent=urgent)

    async def _rows(self, sent: Sequence[Sequence[int] | str], *, urgent: bool = False) -> list[Array]:
        """The token vectors of each, marks included."""
        settings = self._settings

        def read(content: bytes) -> list[Array]:
            found = answers.token_vectors(content, count=len(sent), dimension=settings.dimension)
            for one, rows in zip(sent, found, strict=True):
                if not isinstance(one, str) and len(rows) != len(one):
                    raise Unavailable(f"{len(rows)} token vectors for {len(one)} tokens")
            return found

        longest = sum(settings.max_tokens if isinstance(one, str) else len(one) for one in sent)
        most = longest * settings.dimension * _VECTOR_BYTES + len(sent) * _ITEM_BYTES + _ANSWER_BYTES
        body = self._body(sent) | {"task": "token_embed"}
        return await self._asked(self._pooling, "/pooling", body, read, most_bytes=most, urgent=urgent)

    def _body(self, sent: Sequence[Sequence[int] | str]) -> dict[str, object]:
        return {
            "model": self._settings.model,
            "input": sent,
            "encoding_format": "base64",
            "truncate_prompt_tokens": self._settings.max_tokens,
        }

    async def _tokens(self, text: str, *, strings: bool = False, urgent: bool = False) -> answers.Tokens:
        """The tokens of *text*, marks included."""
        body = {"model": self._settings.model, "prompt": text, "add_special_tokens": True, "return_token_strs": strings}
        most = len(text.encode()) * _BYTES_PER_TOKEN + _ANSWER_BYTES

        def read(content: bytes) -> answers.Tokens:
            return answers.decoded(content, answers.Tokens)

        return await self._asked(self._dense, "/tokenize", body, read, most_bytes=most, urgent=urgent)

    async def _asked(
        self,
        connection: ModelConnection,
        path: str,
        body: object,
        read: Callable[[bytes], T],
        *,
        most_bytes: int,
        urgent: bool,
    ) -> T:
        """What *read* makes of the answer; one that says that there is no such model is of another server."""
        model = self._settings.model

        def reading(status: int, content: bytes) -> T:
            if status == _NOT_THERE:
                raise Misconfigured(f"{connection.subject}: {path} knows no model {model}")
            return checked(connection, status, content, read)

        return await connection.ask(path, body, reading, most_bytes=most_bytes, urgent=urgent)

    @property
    def _pooling(self) -> ModelConnection:
        return self._by_token or self._dense

    async def _check(self) -> None:
        """Name, dimension, length, and that the weights are those of before; then what is offered beside sentence vectors.

        Raises:
            Misconfigured: something else is served. Unavailable, DeadlineExceeded: nothing answers.
        """
        settings = self._settings
        served = await check_name(self._dense, settings.model)
        if served.max_model_len is not None and served.max_model_len < settings.max_tokens:
            raise Misconfigured(f"{settings.model} reads {served.max_model_len} tokens; embedder.max_tokens is {settings.max_tokens}")
        (vector,) = await self._vectors([_PROBE])
        before = await self._before(vector)
        if float(vector @ before) < _SAME:
            raise Misconfigured(f"what is served as {settings.model} is not the model that was there before; give it a name of its own")
        self._marks = await self._find_marks()
        self._with_tokens = await self._gives_tokens()
        self._fingerprint = before
        log.info("model checked", model=settings.model, tokenizer=self._marks is not None, token_vectors=self._with_tokens)

    async def _before(self, vector: Array) -> Array:
        """What the probe gave the first time; in this process only, as long as it cannot be asked for others."""
        if self._first is not None:
            try:
                found = await self._first(self.identity, vector.tolist())
                self._fingerprint, self._first = np.asarray(found, dtype=np.float32), None
            except KalendsError as error:
                log.warning("whether the model is that of before cannot be asked yet", kind=error.code)
        return vector if self._fingerprint is None else self._fingerprint

    async def _find_marks(self) -> windows.Marks | None:
        """The model's marks; None where no tokenizer can be asked, and long texts are cut by characters."""
        try:
            empty, word = await self._tokens("", strings=True), await self._tokens("a")
        except (Misconfigured, Invalid):
            return None
        marks, some = empty.tokens, word.tokens
        same = next((place for place, (one, other) in enumerate(zip(marks, some, strict=False)) if one != other), len(marks))
        before, after = tuple(marks[:same]), tuple(marks[same:])
        if len(some) <= len(marks) or tuple(some[len(some) - len(after) :]) != after:
            return None
        return windows.Marks(before=before, after=after, words=tuple(empty.token_strs or ()))

    async def _gives_tokens(self) -> bool:
        """Whether token vectors are offered. Servers that are set for them and away are taken to be theirs."""
        settings = self._settings
        if self._marks is None or not _wants_tokens(settings):
            return False
        ids = (await self._tokens(_PROBE)).tokens

        def read(status: int, content: bytes) -> bool:
            if status in _NOT_OFFERED:
                return False
            found = checked(self._pooling, status, content, lambda body: answers.token_vectors(body, count=1, dimension=settings.dimension))
            return len(found[0]) == len(ids)

        most = len(ids) * settings.dimension * _VECTOR_BYTES + _ANSWER_BYTES
        try:
            given = await self._pooling.ask("/pooling", self._body([ids]) | {"task": "token_embed"}, read, most_bytes=most)
        except (Unavailable, DeadlineExceeded):
            return self._by_token is not None
        if not given and self._by_token is not None:
            raise Misconfigured(f"embedder.token_urls: no token vectors of {settings.model} come from there (vllm serve --pooler-config)")
        return given


def open_embedder(settings: EmbedderSettings, *, first: First | None = None) -> VllmEmbedder:
    """The embedder that *settings* name, and *first* as ``VllmEmbedder`` has it. Nothing is sent yet.

    Raises:
        Misconfigured: a setting cannot work.
    """
    if not settings.model:
        raise Misconfigured("embedder.urls needs embedder.model (KALENDS_EMBEDDER__MODEL)")

    def connection(urls: str, *, setting: str, subject: str) -> ModelConnection:
        return open_connection(
            urls,
            setting=setting,
            dependency="model",
            subject=subject,
            deadline_s=settings.deadline_s,
            concurrency=settings.concurrency,
            key_file=settings.key_file,
            ca_file=settings.ca_file,
            strip="/v1",
        )

    tokens = None
    if settings.token_urls and _wants_tokens(settings):
        tokens = connection(settings.token_urls, setting="embedder.token_urls", subject="the model of token vectors")
    dense = connection(settings.urls, setting="embedder.urls", subject="the embedding model")
    return VllmEmbedder(dense, tokens=tokens, settings=settings, first=first)


def _wants_tokens(settings: EmbedderSettings) -> bool:
    return settings.token_vectors != "off"  # noqa: S105 - vectors of a model's tokens, and no secret


def _batches(pieces: Sequence[_Piece], *, tokens: int) -> list[list[int]]:
    """Indexes of *pieces* in runs of like length, each within so many tokens; one request has either ids or texts."""
    order = sorted(range(len(pieces)), key=lambda index: (isinstance(pieces[index].sent, str), -pieces[index].tokens))
    batches: list[list[int]] = []
    held = 0
    for index in order:
        piece = pieces[index]
        fits = bool(batches) and held + piece.tokens <= tokens and len(batches[-1]) < MOST_TEXTS
        if not fits or isinstance(pieces[batches[-1][0]].sent, str) != isinstance(piece.sent, str):
            batches.append([])
            held = 0
        batches[-1].append(index)
        held += piece.tokens
    return batches
