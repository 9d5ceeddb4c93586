"""Pieces: the parts of a material that an extractive summary may be made of, and which of them are worth a model's look.

Belongs here: sentences of events, questions kept with their short answers, and the cheap score over words that picks candidates. Does not
belong here: vectors (``extractive``) or titles (``phrases``). A newcomer would get wrong: a line of a node below is one piece, however many
sentences it has, because its evidence hangs on the whole line; only the text of events is split.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kalends.domain import instructions, sentences, stopwords
from kalends.domain.calendar import Evidence, Material, Passage

CANDIDATES = 12
"""So many pieces of a material are embedded, the most telling by their words."""

JOINT = " \u2014 "
"""Between a question and its answer."""

_QUESTION_MARKS = ("?", "\uff1f", "\u061f")
_ANSWER_WORDS = 8
_ANSWER_CHARS = 60
_ANSWER_SIGNS = 12
"""A short answer in a script without blanks."""

_CONSENT = frozenset(
    (
        "yes",
        "no",
        "yeah",
        "yep",
        "yup",
        "nope",
        "nah",
        "never",
        "ja",
        "nein",
        "doch",
        "oui",
        "non",
        "s\u00ed",
        "n\u00e3o",
        "sim",
        "nee",
        "da",
        "nie",
    )
)
_LIST_MARK = re.compile(r"(?:[-*\u2022\u2013+>]|#{1,6}|\d{1,3}[.)])\s+")
_NAME = re.compile(r"[\w,;:)] [A-Z\u00c0-\u00de]\w")
_DIGIT = re.compile(r"\d")
_SELF = re.compile(r"\b(?:I|I'\w+|I\u2019\w+|my|we|our|ich|wir|mein|je|nous|yo|mi|eu|io|ik)\b")
_SHORTEST_CHARS = 25
_LONGEST_CHARS = 260
_NO_PROSE = re.compile(r"[^\w\s,.'\u2019-]|[\d_]")
_NO_PROSE_SHARE = 0.25
_REACTION = re.compile(
    r"(?:congrat\w*|thanks|thank you|thx|hey|hi|hello|wow|woah|whoa|aww?|sorry|glad|great|good|nice|awesome|cool|amazing|lovely|sounds"
    r"|that(?:'s|\u2019s| sounds| is)|yay|haha|bye|take care|see you|you're welcome|no problem|keep it up|way to go|i hope|hope|wishing"
    r"|can't wait|i'm (?:so |really )?(?:glad|happy|sorry|proud|excited) (?:to hear|for you|of you|you))\b",
    re.IGNORECASE,
)
"""How people take in what another said; the other said it better."""

_MANY_PIECES = 4
_SHARED = 0.2
"""A piece of a long event weighs as if the event's weight were partly shared among its pieces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one claim could say, in letters of its passages.

    ``place`` is its time, the number of its passage, and its offset there, by which pieces are ordered. ``words`` carry meaning. ``weight``
    is how fit for a summary its form is, 0 to about 1.5. ``steering``: it, or what stands before it, gives orders to its reader.
    """

    text: str
    evidence: tuple[Evidence, ...]
    place: tuple[int, int, int]
    words: tuple[str, ...]
    weight: float
    steering: bool


def pieces_of(material: Material) -> list[Piece]:
    """The pieces of *material*, oldest first; none if no passage has text."""
    whole = material.period.level != "segment"
    passages = [one for one in material.passages if one.text.strip()]
    speakers = frozenset(word for name in {one.speaker for one in passages} for word in stopwords.meaningful(name))
    pieces: list[Piece] = []
    before: Passage | None = None
    for number, passage in enumerate(passages):
        made = [_of_line(passage, number)] if whole else list(_of_event(passage, number))
        if not whole and made and before is not None:
            _keep_question(pieces, made, before, passage, speakers=speakers)
        pieces += made
        before = passage
    # a text of nothing but signs is still a text
    return [piece for piece in pieces if any(map(str.isalnum, piece.text))] or pieces


def candidates(pieces: Sequence[Piece]) -> list[tuple[Piece, float]]:
    """The most telling of *pieces*, at most ``CANDIDATES``, each with its score above 0, in their order; no two that say the same.

    What gives orders to its reader is only there if there is nothing else, and small talk likewise.
    """
    honest = [piece for piece in pieces if not piece.steering] or list(pieces)
    holding = Counter(word for piece in honest for word in set(piece.words))
    best: dict[tuple[str, ...], tuple[Piece, float]] = {}
    for piece in honest:
        score = _score(piece, holding)
        same = best.get(piece.words or (piece.text,))
        if same is None or score > same[1]:
            best[piece.words or (piece.text,)] = (piece, score)
    ranked = sorted(best.values(), key=lambda pair: (-pair[1], pair[0].place))
    telling = [pair for pair in ranked if pair[1] > 0] or [(piece, 0.001) for piece, _ in ranked[:1]]
    return sorted(telling[:CANDIDATES], key=lambda pair: pair[0].place)


def _score(piece: Piece, holding: Mapping[str, int]) -> float:
    """How much of what the material speaks of again and again the *piece* holds, for its length; rounded, so that ties are ties."""
    words = set(piece.words)
    total = math.fsum(math.log1p(holding[word]) for word in words)
    return round(piece.weight * total / math.sqrt(len(words) + 6), 6)


def _of_line(passage: Passage, number: int) -> Piece:
    text = passage.text.strip()
    return Piece(
        text=text,
        evidence=(Evidence(key=passage.key, excerpt=sentences.excerpt(text)),),
        place=(passage.occurred_us, number, 0),
        words=tuple(stopwords.meaningful(text)),
        weight=_weight(text),
        steering=instructions.countable(passage.text) != passage.text,
    )


def _of_event(passage: Passage, number: int) -> Iterator[Piece]:
    counted = len(instructions.countable(passage.text))
    found = sentences.split(passage.text)
    share = min(1.0, (_MANY_PIECES / len(found)) ** _SHARED) if found else 1.0
    for sentence in found:
        mark = _LIST_MARK.match(sentence.text)
        body = sentence.text[mark.end() :] if mark and mark.end() < len(sentence.text) else sentence.text
        text = sentences.excerpt(body)
        yield Piece(
            text=text,
            evidence=(Evidence(key=passage.key, excerpt=text),),
            place=(passage.occurred_us, number, sentence.start),
            words=tuple(stopwords.meaningful(text)),
            weight=_weight(text) * share,
            steering=sentence.end > counted,
        )


def _keep_question(pieces: list[Piece], made: list[Piece], before: Passage, passage: Passage, *, speakers: frozenset[str]) -> None:
    """Put the question that ends *before* in front of the short answer that opens *passage*; both lists are changed."""
    if not pieces or before.speaker == passage.speaker:
        return
    question, answer = pieces[-1], made[0]
    asked = question.evidence[-1].key == before.key and question.text.endswith(_QUESTION_MARKS) and len(question.evidence) == 1
    if not asked or not _answers(question, answer, speakers):
        return
    pieces.pop()
    made[0] = Piece(
        text=question.text + JOINT + answer.text,
        evidence=(*question.evidence, *answer.evidence),
        place=question.place,
        words=tuple(dict.fromkeys((*question.words, *answer.words))),
        weight=_weight(answer.text, short=True),
        steering=question.steering or answer.steering,
    )


def _answers(question: Piece, answer: Piece, speakers: frozenset[str]) -> bool:
    """Whether *answer* is short, no question itself, and says something to one that asks something."""
    words = [answer.text[start:end].lower() for start, end in stopwords.spans(answer.text)]
    limit = _ANSWER_SIGNS if stopwords.is_unspaced(answer.text) else _ANSWER_CHARS
    if not words or len(words) > _ANSWER_WORDS or len(answer.text) > limit or answer.text.endswith(_QUESTION_MARKS):
        return False
    if words[0] in _CONSENT:
        return len(question.words) > 1
    if _REACTION.match(answer.text):
        return False
    return bool(question.words and (not speakers.issuperset(answer.words) or _DIGIT.search(answer.text)))


def _weight(text: str, *, short: bool = False) -> float:
    """How fit the form of *text* is: facts and people's own words gain, questions, scraps and the output of tools lose."""
    weight = 1.0
    if _DIGIT.search(text):
        weight *= 1.15
    if _NAME.search(text):
        weight *= 1.15
    if _SELF.search(text):
        weight *= 1.3
    if text.endswith(_QUESTION_MARKS):
        weight *= 0.5
    if len(text) > _LONGEST_CHARS:
        weight *= 0.8
    elif len(text) < _SHORTEST_CHARS and not short and text.isascii():
        weight *= 0.5
    if _REACTION.match(text):
        weight *= 0.35
    if text.startswith(("```", "~~~")) or len(_NO_PROSE.findall(text)) > _NO_PROSE_SHARE * len(text):
        weight *= 0.25
    return weight
