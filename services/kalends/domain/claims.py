"""Claims of a chat model: what may be believed of an answer.

Belongs here: reading an answer, comparing it with what it cites, and making claims with evidence of it. Does not belong here: asking a
model. A newcomer would get wrong: a shape that fits proves nothing. Every number and every name of a line must stand in what the line
cites, and a good part of its words too; text that gives orders to its reader is cited in vain (``instructions``).
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kalends.domain import instructions, sentences, stopwords
from kalends.domain.calendar import Claim, Evidence, Passage
from kalends.domain.wording import Wording, is_date, is_link, stem

MOST_BULLETS = 5
BULLET_CHARS = 400
TITLE_CHARS = 120
KEYWORDS = 7
KEYWORD_CHARS = 60
CITED_AT_MOST = 4

_SUPPORT = 3
"""One of so many words of a line must be borne out by what it cites."""

_FENCED = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)
_JOINERS = ("\u200c", "\u200d")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SCHEMA: Mapping[str, object] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["title", "bullets", "keywords"],
    "properties": {
        "title": {"type": "string", "maxLength": TITLE_CHARS},
        "bullets": {
            "type": "array",
            "minItems": 1,
            "maxItems": MOST_BULLETS,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["text", "cites"],
                "properties": {
                    "text": {"type": "string", "maxLength": BULLET_CHARS},
                    "cites": {"type": "array", "minItems": 1, "maxItems": 2 * CITED_AT_MOST, "items": {"type": "string"}},
                },
            },
        },
        "keywords": {"type": "array", "minItems": 3, "maxItems": KEYWORDS, "items": {"type": "string", "maxLength": KEYWORD_CHARS}},
    },
}
"""The JSON schema of an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of an answer: what it says and the references that it cites."""

    text: str
    cites: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer of the right shape; nothing of it is checked yet."""

    title: str
    lines: tuple[Line, ...]
    keywords: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why an answer is not believed: the name of the check, and in words for the model; the words may quote the answer."""

    check: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What of an answer is believed."""

    title: str
    claims: tuple[Claim, ...]
    keywords: tuple[str, ...]


def references(passages: Sequence[Passage]) -> dict[str, Passage]:
    """Short names for *passages*, which a model copies without mistakes: e1, e2 and so on."""
    return {f"e{number}": passage for number, passage in enumerate(passages, start=1)}


def read(text: str) -> Answer | Refusal:
    """The answer in *text*, or why it is none."""
    try:
        found = json.loads(_FENCED.sub(r"\1", text.strip()))
    except (ValueError, RecursionError):
        return Refusal(check="json", detail="the answer is not JSON")
    if not isinstance(found, dict):
        return Refusal(check="shape", detail="the answer is not a JSON object")
    title, bullets, keywords = found.get("title"), found.get("bullets"), found.get("keywords", [])
    if not isinstance(title, str) or not isinstance(bullets, list) or not _are_strings(keywords):
        return Refusal(check="shape", detail="the answer needs a title, bullets and keywords")
    if not 1 <= len(bullets) <= MOST_BULLETS:
        return Refusal(check="bullets", detail=f"the answer has {len(bullets)} bullets; 1 to {MOST_BULLETS} are allowed")
    lines = []
    for bullet in bullets:
        if not isinstance(bullet, dict) or not isinstance(bullet.get("text"), str) or not _are_strings(bullet.get("cites")):
            return Refusal(check="shape", detail="each bullet needs a text and a list of the references that it cites")
        lines.append(Line(text=_tidy(bullet["text"]), cites=tuple(dict.fromkeys(bullet["cites"]))))
    return Answer(title=_tidy(title), lines=tuple(lines), keywords=tuple(map(_tidy, keywords)))


def check(answer: Answer, passages: Mapping[str, Passage]) -> Accepted | tuple[Refusal, ...]:
    """What of *answer* is believed, given the *passages* by reference; or everything that is wrong with it."""
    counted = {reference: instructions.countable(passage.text) for reference, passage in passages.items()}
    speakers = Wording.of(" ".join({passage.speaker for passage in passages.values()}))
    voided = Wording.of("\n".join(passage.text[len(counted[reference]) :] for reference, passage in passages.items()))
    refusals: list[Refusal] = []
    claims = []
    for number, line in enumerate(answer.lines, start=1):
        found = _refusal_of(line, f"bullet {number}", passages, counted, speakers=speakers, voided=voided)
        if found is not None:
            refusals.append(found)
            continue
        claims.append((_first_us(line, passages), number, _claim(line, passages, counted)))
    everything = _Cited.of({reference: text for reference, text in counted.items() if text.strip()}, passages, speakers)
    refusals += _refusals_of_title(answer.title, everything, voided)
    if refusals:
        return tuple(refusals)
    kept = tuple(word for word in dict.fromkeys(answer.keywords) if _is_keyword(word, everything))[:KEYWORDS]
    return Accepted(title=answer.title, claims=tuple(claim for _, _, claim in sorted(claims, key=lambda one: one[:2])), keywords=kept)


def _refusal_of(
    line: Line, where: str, passages: Mapping[str, Passage], counted: Mapping[str, str], *, speakers: Wording, voided: Wording
) -> Refusal | None:
    """The first thing that is wrong with a line."""
    if not any(map(str.isalnum, line.text)):
        return Refusal(check="bullets", detail=f"{where} is empty")
    if len(line.text) > BULLET_CHARS:
        return Refusal(check="length", detail=f"{where} is longer than {BULLET_CHARS} characters")
    if not line.cites or any(reference not in passages for reference in line.cites):
        return Refusal(check="cites", detail=f"{where} must cite references of the events, and no others")
    if not any(passages[reference].text.strip() for reference in line.cites):
        return Refusal(check="cites", detail=f"{where} cites events without text")
    standing = {reference: counted[reference] for reference in line.cites if counted[reference].strip()}
    if not standing or instructions.countable(line.text) != line.text:
        return Refusal(check="instructions", detail=f"{where} repeats instructions instead of what happened")
    return _unsupported(line.text, _Cited.of(standing, passages, speakers), where, voided)


def _unsupported(text: str, cited: "_Cited", where: str, voided: Wording) -> Refusal | None:
    """What of a line *text* the *cited* passages do not bear out: a number, a name, or too many of its words."""
    found = _unfounded(text, cited, where)
    if found is not None:
        return found
    words = cited.without_speakers(stopwords.meaningful(text, without=stopwords.GLUE))
    if cited.obeys(words, voided):
        return Refusal(check="instructions", detail=f"{where} rests on text that is no evidence")
    # a line of nothing but names and glue says nothing that could be borne out
    return None if words and cited.bears_out(words) else Refusal(check="support", detail=f"{where} says what the cited events do not")


def _refusals_of_title(title: str, everything: "_Cited", voided: Wording) -> list[Refusal]:
    if not any(map(str.isalnum, title)):
        return [Refusal(check="title", detail="the title is empty")]
    if len(title) > TITLE_CHARS:
        return [Refusal(check="title", detail=f"the title is longer than {TITLE_CHARS} characters")]
    if instructions.countable(title) != title:
        return [Refusal(check="title", detail="the title repeats instructions instead of what happened")]
    found = _unfounded(title, everything, "the title")
    if found is not None:
        return [Refusal(check="title", detail=found.detail)]
    words = everything.without_speakers(stopwords.meaningful(title))
    borne_out = everything.bears_out(words) and not everything.obeys(words, voided)
    return [] if borne_out else [Refusal(check="title", detail="the title says what no event does")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cited:
    """What some passages tell: their text alone, the same with what else the model was given, and who speaks anywhere."""

    told: Wording
    known: Wording
    speakers: Wording

    @classmethod
    def of(cls, counted: Mapping[str, str], passages: Mapping[str, Passage], speakers: Wording) -> "_Cited":
        """The passages whose references *counted* has, with what of their text counts."""
        known = "\n".join(f"{_given(passages[reference])}\n{text}" for reference, text in counted.items())
        return cls(told=Wording.of("\n".join(counted.values())), known=Wording.of(known), speakers=speakers)

    def without_speakers(self, words: Iterable[str]) -> set[str]:
        """*words* but for numbers, dates and the names of those who speak: that somebody spoke, and when, bears nothing out."""
        return {word for word in words if not self.speakers.knows(word) and not is_date(word) and not word.isdigit()}

    def bears_out(self, words: set[str]) -> bool:
        """Whether enough of *words* stand in the text."""
        return self.shared(words) * _SUPPORT >= len(words)

    def shared(self, words: set[str]) -> int:
        """How many of *words* stand in the text."""
        return sum(1 for word in words if stem(word) in self.told.stems)

    def obeys(self, words: set[str], voided: Wording) -> bool:
        """Whether *words* come from text that is no evidence rather than from here."""
        return sum(1 for word in words if stem(word) in voided.stems) > self.shared(words)


def _unfounded(text: str, cited: _Cited, where: str) -> Refusal | None:
    """The first number, link or name of *text* that *cited* does not have; those who speak may be named anywhere."""
    numbers = cited.known.lacks(text)
    if numbers:
        return Refusal(check="numbers", detail=f"{where}: {', '.join(numbers)} does not occur in the cited events")
    names = cited.known.strange_names(text, also=cited.speakers)
    if not names:
        return None
    kind = "links" if any(map(is_link, names)) else "names"
    return Refusal(check=kind, detail=f"{where}: {', '.join(names)} does not occur in the cited events")


def _claim(line: Line, passages: Mapping[str, Passage], counted: Mapping[str, str]) -> Claim:
    evidence = []
    for reference in line.cites:
        excerpt = _excerpt(counted[reference], line.text)
        if excerpt:
            evidence.append(Evidence(key=passages[reference].key, excerpt=excerpt))
    return Claim(text=line.text, evidence=tuple(evidence[:CITED_AT_MOST]))


def _excerpt(text: str, line: str) -> str:
    """The sentence of *text* that shares the most words with *line*, the first of equals; cut where an excerpt ends."""
    pieces = sentences.split(text)
    wanted = {stem(word) for word in stopwords.meaningful(line, without=stopwords.GLUE)}
    shared = [len(wanted & {stem(word) for word in stopwords.meaningful(piece.text, without=stopwords.GLUE)}) for piece in pieces]
    return sentences.excerpt(pieces[shared.index(max(shared))].text) if pieces else ""


def _given(passage: Passage) -> str:
    """What the model was told of the *passage* besides its text: who spoke, and when, in the words that people use for a date."""
    when = _EPOCH + timedelta(microseconds=passage.occurred_us)
    return f"{passage.speaker} {when:%Y-%m-%d %H:%M %B %b %A %a} {when.day}"


def _first_us(line: Line, passages: Mapping[str, Passage]) -> int:
    return min(passages[reference].occurred_us for reference in line.cites)


def _is_keyword(word: str, everything: "_Cited") -> bool:
    if not word or len(word) > KEYWORD_CHARS or everything.known.lacks(word) or instructions.countable(word) != word:
        return False
    parts = stopwords.meaningful(word, without=stopwords.GLUE)
    return bool(parts) and all(stem(part) in everything.told.stems for part in parts)


def _are_strings(found: object) -> bool:
    return isinstance(found, list) and all(isinstance(one, str) for one in found)


def _tidy(text: str) -> str:
    """*text* on one line, without the signs that move a cursor or hide what follows."""
    return " ".join("".join(sign if sign.isprintable() or sign in _JOINERS else " " for sign in text).split())
