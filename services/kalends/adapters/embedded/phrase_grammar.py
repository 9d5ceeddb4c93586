"""The grammar of time phrases: where in an English question one may stand, and what kind it is.

Belongs here: regular expressions and what may stand beside a phrase; pure and fast enough for the event loop. Does not belong here: which
days a phrase means (``phrases``). A newcomer would get wrong: most words of time are also something else ("may I", "march on", "sun",
"Friday" in code, "last message"), so a phrase needs its company: a preposition, a day, a year, a number. A false find hides memories, a
missed one only leaves them where they were.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Relation = Literal["at", "since", "after", "before", "until", "between"]

MOST = 8
"""Candidates of one question that are looked at."""

NUMBERS = {
    word: number
    for number, words in enumerate(
        ("a an one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), start=1
    )
    for word in words.split()
}

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_S = r"\s{1,3}"
_NUMBER = r"(?:\d{1,3}|" + "|".join(sorted(NUMBERS, key=len, reverse=True)) + ")"
_SOME = rf"(?:(?:a{_S})?couple(?:{_S}of)?|(?:a{_S})?few)"
_SURE_MONTH = "(?:january|february|april|june|july|august|september|october|november|december|jan|feb|apr|jun|jul|aug|sept|sep|oct|nov|dec)"
_MONTH = f"(?:{_SURE_MONTH}|march|may|mar)"
_WEEKDAY = "(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_YEAR = r"(?:19|20|21)\d\d"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_OF_YEAR = rf"(?:,?{_S}|,){_YEAR}"
_DAY_MONTH = rf"(?:the{_S})?{_DAY}{_S}(?:of{_S})?{_MONTH}\b\.?(?:{_OF_YEAR})?"
_MONTH_DAY = rf"{_MONTH}\b\.?{_S}(?:the{_S})?{_DAY}(?![\d:])(?:{_OF_YEAR})?"
_MONTH_YEAR = rf"{_MONTH}\b\.?(?:{_S}of|,)?{_S}{_YEAR}"
_ISO_DAY = rf"{_YEAR}[-/](?:0[1-9]|1[0-2])[-/](?:0[1-9]|[12]\d|3[01])"
_ISO_MONTH = rf"{_YEAR}-(?:0[1-9]|1[0-2])(?![-/\d])"
_UNIT = "(?:hour|day|week|month|quarter|year)"
_THIS_PAST = rf"(?:this{_S})?past{_S}"
_NAMED = (
    rf"(?:this|last|previous){_S}(?:week(?:end)?|month|quarter|year|{_WEEKDAY})|{_THIS_PAST}(?:weekend|{_WEEKDAY})"
    rf"|last{_S}night|this{_S}(?:morning|afternoon|evening)"
)
_AGO = rf"(?:(?:{_NUMBER}{_S}(?:or|to){_S})?{_NUMBER}|{_SOME}){_S}(?:hour|day|week|month|year)s?{_S}ago"
_SPOKEN_DAY = rf"(?:the{_S})?day{_S}before{_S}yesterday|yesterday|today"
_OVER = rf"(?:in|over|during|within|for|throughout){_S}"
_ROLLING = (
    rf"(?:{_OVER})?(?:(?:the|these|this){_S})?(?:last|past){_S}(?:{_NUMBER}|{_SOME}){_S}{_UNIT}s?"
    rf"|{_OVER}the{_S}last{_S}{_UNIT}|(?:{_OVER})?(?:(?:the|this){_S})?past{_S}{_UNIT}|last{_S}hour"
)
_DATE = rf"(?:{_ISO_DAY}|{_ISO_MONTH}|{_DAY_MONTH}|{_MONTH_DAY}|{_MONTH_YEAR})"
_TERM = rf"(?:{_SPOKEN_DAY}|{_AGO}|{_NAMED}|{_DATE}|{_MONTH}|{_YEAR}|{_WEEKDAY})"
_ON = rf"(?:(?:on|in){_S})?"

_LEFT = r"(?<![\w.\-/\\@#$%&`'\"\u2019\u2018\u201c\u201d:=+*<>\[{~^|])(?<!\w\()"
_RIGHT = r"(?![\w\-/\\@#$%`\"\u201c\u201d=+*<>\[{(])(?!\.\w)(?!:\w)(?P<possessive>['\u2019]s\b)?(?!['\u2019]\w)"
_SHAPES = (
    rf"between{_S}{_ON}(?P<lower>{_TERM}|{_DAY}){_S}and{_S}{_ON}(?P<upper>{_TERM}|{_DAY}|now)",
    rf"from{_S}(?P<begin>{_TERM}|{_DAY}){_S}(?:to|until|till|through|up{_S}to){_S}(?P<end>{_TERM}|{_DAY}|now)",
    rf"(?P<relation>since|after|before|until|till|up{_S}to|by){_S}{_ON}(?P<term>{_TERM})",
    rf"(?P<rolling>{_ROLLING})",
    rf"(?P<spoken>{_SPOKEN_DAY}|{_AGO}|{_NAMED})",
    rf"(?:on|in|during|for|from){_S}(?P<dated>{_DATE})",
    rf"(?P<date>{_DATE})",
    rf"(?:in|during|throughout){_S}(?:(?:early|mid|late){_S})?(?P<month>{_MONTH})",
    rf"(?:in|during|throughout|from){_S}(?P<year>{_YEAR})",
    rf"on{_S}(?P<weekday>{_WEEKDAY})",
)
_CANDIDATE = re.compile(f"{_LEFT}(?ai:(?P<phrase>{'|'.join(_SHAPES)})){_RIGHT}")
"""Letters of a phrase are ASCII (else the Kelvin sign is a k), those beside it any, so that no phrase is cut out of a foreign word."""

_CODE_BEFORE = re.compile(r"[=<>+*/%]\s*$")
_CODE_AFTER = re.compile(r"\s*[=<>+*/%]")
_WORD_BEFORE = re.compile(r"([\w']+)\W{0,3}$")
_WORD_AFTER = re.compile(r"\s{0,3}([\w']+)")
_HAS_YEAR = re.compile(rf"(?<!\d){_YEAR}(?!\d)")
_BARE_NUMBER = re.compile(_DAY, re.IGNORECASE)
_BARE_MONTH = re.compile(_MONTH, re.IGNORECASE)
_DATED = re.compile(f"{_DATE}|{_MONTH}", re.IGNORECASE)
_COUNTED = re.compile(r"(?:\d+|\w+)\s+\w+\s+ago", re.IGNORECASE)
_BARE_YEAR = re.compile(_YEAR)
_BARE_WEEKDAY = re.compile(_WEEKDAY, re.IGNORECASE)
_VERB = re.compile(r"\b(?:may|march|mar)\b", re.IGNORECASE)
_NO_VERB = re.compile(r"\bof\b|^[a-z]+\.?\s.*\d(?:st|nd|rd|th)$", re.IGNORECASE)
_CAPITAL = re.compile(r"\b(?:May|March|Mar)\b")
_LOOSE = re.compile(r"\b(?:today|this\s+(?!past)|(?:month|year)s?\s+ago)", re.IGNORECASE)
_SETTLED = re.compile(r"\b(?:yesterday|last|past|previous|ago)\b", re.IGNORECASE)
_SAID_OF_FUTURE = re.compile(
    r"\b(?:will|shall|won't|tomorrow|upcoming|next|going\s+to|plan(?:s|ned|ning)?|schedul(?:e|ed|es)|due)\b|['\u2019]ll\b", re.IGNORECASE
)
_OWNERS = frozenset({"my", "your", "his", "her", "our", "their", "its", "whose"})
_LENGTHS = frozenset({*WEEKDAYS, *(unit + s for unit in ("hour", "day", "week", "month", "year") for s in ("", "s")), "weekend", "evening"})
_VAGUE = frozenset({"than", "over", "under", "least", "most", "nearly", "almost", "to", "or", "and", "half", "every", "each"})
_NAMES = frozenset({"april", "may", "june", "august", "jan"})
_AFTER_A_MONTH = frozenset(
    {"did", "do", "does", "was", "were", "have", "has", "had", "we", "i", "you", "they", "what", "how", "which", "and", "of"}
)
_MODAL = frozenset(
    {"i", "we", "you", "he", "she", "it", "they", "not", "be", "have", "also", "only", "well", "never", "still", "or", "need"}
)
_SINGULAR = frozenset({"was", "is", "has", "does", "vs", "as", "us", "thus", "always", "this", "its", "perhaps", "sometimes"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A phrase of the question and how its dates stand to the time asked about.

    ``terms`` is one date, or two of ``between``. ``rolling``: the stretch up to now. ``firm`` is as in ``ports.phrases``.
    """

    phrase: str
    relation: Relation
    terms: tuple[str, ...]
    rolling: bool = False
    firm: bool = False


def candidates(question: str) -> Iterator[Candidate]:
    """The time phrases of *question*, in order; at most ``MOST``."""
    found = 0
    for match in _CANDIDATE.finditer(question):
        candidate = _read(match, question)
        if candidate is not None:
            found += 1
            yield candidate
        if found == MOST:
            return


def has_year(term: str) -> bool:
    """Whether *term* names its year."""
    return _HAS_YEAR.search(term) is not None


def is_number(term: str) -> bool:
    """Whether *term* is the number of a day without a month."""
    return _BARE_NUMBER.fullmatch(term) is not None


def is_dated(term: str) -> bool:
    """Whether *term* names a month or a day of one, rather than something relative to now."""
    return _DATED.fullmatch(term) is not None


def is_weekday(term: str) -> bool:
    """Whether *term* is the name of a day of the week."""
    return _BARE_WEEKDAY.fullmatch(term) is not None


def _read(match: re.Match[str], question: str) -> Candidate | None:
    """What *match* says, unless its company tells that it is no time, or a time to come."""
    phrase, whole = match["phrase"], match["possessive"] is not None
    beside = question[max(0, match.start() - 40) : match.start()]
    if _CODE_BEFORE.search(beside) or _CODE_AFTER.match(question, match.end()):
        return None
    found = _WORD_BEFORE.search(beside)
    before = found[1].lower() if found else ""
    following = _WORD_AFTER.match(question, match.end())
    after = following[1].lower() if following else ""
    terms = tuple(match[name] for name in ("lower", "upper", "begin", "end", "term", "rolling", "spoken", "dated", "date") if match[name])
    terms = terms or tuple(match[name] for name in ("month", "year", "weekday") if match[name])
    if _is_something_else(match, terms, before=before, after=after) or _is_to_come(terms, question):
        return None
    if match["rolling"] or match["spoken"]:
        firm = not whole and not _LOOSE.search(phrase)
        return Candidate(phrase=phrase, relation="at", terms=terms, rolling=match["rolling"] is not None, firm=firm)
    return Candidate(phrase=phrase, relation=_relation(match), terms=terms, firm=_is_firm(match, terms))


def _relation(match: re.Match[str]) -> Relation:
    if match["lower"] or match["begin"]:
        return "between"
    word = (match["relation"] or "at").lower()
    if word in {"at", "since", "after", "before"}:
        return word  # type: ignore[return-value]  # the set is a part of the literal
    return "until"


def _is_firm(match: re.Match[str], terms: tuple[str, ...]) -> bool:
    if match["lower"] or match["begin"]:
        return not all(_BARE_WEEKDAY.fullmatch(term) for term in terms)
    return bool(match["relation"])


def _is_something_else(match: re.Match[str], terms: tuple[str, ...], *, before: str, after: str) -> bool:
    counted = match["rolling"] or match["spoken"]
    last = terms[-1]
    is_count = (_BARE_YEAR.fullmatch(last) or is_number(last)) and after.endswith("s") and after not in _SINGULAR
    no_time = (
        (counted and after == "of")  # the last week of school
        or (counted and before in _OWNERS)  # my last year
        or (counted and before in _VAGUE and _COUNTED.match(match["phrase"]))  # more than two years ago
        or (match["possessive"] and not match["spoken"])  # in April's opinion
        or is_count  # in 2000 words
        or all(is_number(term) for term in terms)  # between 3 and 5
    )
    if match["relation"]:
        return bool(no_time) or _is_no_bound(match["relation"].lower(), last, before=before, after=after)
    return bool(no_time) or (bool(match["date"]) and _is_verb(match, last, after=after))


def _is_no_bound(relation: str, term: str, *, before: str, after: str) -> bool:
    """Whether "before March" and the like bound something else."""
    if relation in {"before", "after"} and before in _LENGTHS:
        return True  # two weeks before 3 August: neither before it nor at it
    if relation == "by" and not re.search(r"\d", term):
        return True  # written by April
    if not _BARE_MONTH.fullmatch(term):
        return False
    if _VERB.search(term) and not _CAPITAL.search(term):
        return True
    return term.lower() in _NAMES and bool(after) and after not in _AFTER_A_MONTH


def _is_verb(match: re.Match[str], term: str, *, after: str) -> bool:
    """Whether a date without a preposition or a year is a month that is also a verb: "may 5 people", "the top 5 may"."""
    if not _VERB.search(term) or has_year(term) or _NO_VERB.search(term):
        return False
    opens = match.start() == 0
    return opens or not _CAPITAL.search(term) or (term.lower().endswith("may") and after in _MODAL)


def _is_to_come(terms: tuple[str, ...], question: str) -> bool:
    """Whether the question looks ahead and no term is bound to the past."""
    if any(has_year(term) or _SETTLED.search(term) for term in terms):
        return False
    return _SAID_OF_FUTURE.search(question) is not None
