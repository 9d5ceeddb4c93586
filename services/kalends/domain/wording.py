"""Wording: the numbers, names and words of a text, so that two texts can be compared.

Belongs here: finding them and saying when two are the same. Does not belong here: what follows from a difference (``claims``). A newcomer
would get wrong: a name at the beginning of a sentence looks like any other word there; it counts as a name unless it is a word that
sentences are known to begin with, or is built like one.
"""

import re
from dataclasses import dataclass

from kalends.domain import stopwords

_NUMBER = re.compile(r"\d+(?:[.,:/\u2019' -]\d+)*")
_THOUSANDS = re.compile(r"\d{1,3}(?:([.,\u2019' ])\d{3})(?:\1\d{3})*")
_DECIMAL = re.compile(r"\d+[.,]\d+")
_LINK = re.compile(r"\b(?:https?://|www\.)\S+|\b[\w.+-]+@[\w-]+\.\w+|\b(?:[a-z0-9-]+\.)+(?:[a-z]{2,})(?:/\S*)?", re.IGNORECASE)
_SENTENCE = re.compile(r"[.!?:;\u2026]['\"\u201d\u2019)]*\s+|[\n\u2022\u2014\u3002\uff01\uff1f]\s*|^['\"\u201c(\u00ab]*")
_STEM_CHARS = 5
_SUFFIXES = ("ings", "ing", "ied", "ies", "ed", "es", "s", "e", "y")
_LEAST_STEM = 3
_LEAST_TITLED = 3
_SENTENCE_END = re.compile(r"[.!?;\n]")
_LONGEST_NUMBER = 20

_COUNTED = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen "
    "twenty"
)
_ORDINALS = "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_SPELLED = (
    {word: str(number) for number, word in enumerate(_COUNTED.split())}
    | {word: str(number) for number, word in enumerate(_ORDINALS.split())}
    | {"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90", "hundred": "100"}
    | {"thousand": "1000", "million": "1000000", "dozen": "12", "half": "50", "twice": "2", "once": "1", "couple": "2", "pair": "2"}
)

_EXACT = frozenset(_COUNTED.split()[2:]) | {"thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "thousand", "million"}
"""Number words that state an amount wherever they stand."""

_DATES = frozenset(
    (
        *("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"),
        *("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    )
)
"""Capitalised these are facts, though every story has them."""

_STARTERS = (
    "user users assistant agent team people both several various participants speakers everyone someone summary overview conversation "
    "discussion talk talks chat question answer request requests response plan plans planning decision decisions idea ideas advice tips "
    "help work job trip travel visit meeting call project progress update updates issue issues problem problems bug fix error task tasks "
    "goal goals step steps next new old first second third final more most many few some all another other also still already then later "
    "after before during while when because since although though despite instead however meanwhile finally currently recently today "
    "yesterday tomorrow tonight morning evening weekend week month year day time family friend friends home house life health food music "
    "book books movie game games money cost price budget costs weather school class course code test tests data file files system server "
    "service report list notes details information news concern concerns reason reasons reminder note follow follow-up "
    "wants needs likes loves hopes thinks feels plans says asks tells shares finds gets goes takes makes gives keeps tries starts stops "
    "talks works lives moves buys sells pays learns reads writes runs plays sees meets helps joins leaves returns wins loses set sets got "
    "went took made gave kept bought sold paid learnt read wrote ran saw met left won lost began became felt found told said thought built "
    "fixing using switching moving making getting taking going preferred preferring prefers interest interests "
    "der die das ein eine nutzer benutzer le la les un une l'utilisateur el los las una il lo gli o os as de het een"
)
_STARTS = frozenset(_STARTERS.split())
_ALWAYS_CAPITAL = frozenset(("i", "i'm", "i've", "i'd", "i'll", "ok", "am", "pm", "tv", "diy", "faq", "ai", "id", "q&a"))
_BUILT = (
    "ed",
    "ing",
    "tion",
    "sion",
    "ment",
    "ness",
    "ity",
    "ance",
    "ence",
    "ship",
    "ism",
    "ly",
    "ive",
    "ous",
    "ful",
    "ings",
    "tions",
    "ments",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What a text has: its numbers in every spelling, its words in their plain form, the stems of those, itself in lower case."""

    numbers: frozenset[str]
    words: frozenset[str]
    stems: frozenset[str]
    folded: str

    @classmethod
    def of(cls, text: str) -> "Wording":
        """The wording of *text*; its number words are numbers too."""
        words = _words(text)
        spelled = {_SPELLED[word] for word in words if word in _SPELLED}
        stems = {stem(word) for word in words} | {stem(word) for word in stopwords.meaningful(text, without=frozenset())}
        return cls(numbers=frozenset(_numbers_of(text) | spelled), words=frozenset(words), stems=frozenset(stems), folded=text.casefold())

    def knows(self, name: str) -> bool:
        """Whether the text has *name*, in whatever case, as an owner or in the plural; of a link, letter by letter."""
        folded = stopwords.plain_form(name)
        if is_link(name):
            return name.casefold() in self.folded
        if folded in self.words or folded.rstrip("s") in self.words or f"{folded}s" in self.words:
            return True
        parts = [part for part in re.split(r"[-.'\u2019/]", folded) if part]
        if len(parts) > 1:
            return all(part in self.words or part.isdigit() for part in parts)
        return False

    def strange_names(self, text: str, *, also: "Wording") -> list[str]:
        """The names of *text* that neither it nor *also* knows.

        At the beginning of a sentence, and anywhere in a title that has capitals throughout, a relative of a known word will do.
        """
        strange = [(name, opens) for name, opens in _names_of(text) if not self.knows(name) and not also.knows(name)]
        return [name for name, opens in strange if not (opens and stem(name.lower()) in self.stems)]

    def lacks(self, text: str) -> list[str]:
        """The numbers of *text* that are not among its own, as they are written; 1,000 is 1000, and three is 3."""
        missing = []
        for match in _NUMBER.finditer(text):
            one, parts = _read(match.group())
            if not (one & self.numbers if one else parts <= self.numbers):
                missing.append(match.group())
        missing += [word for word in _words(text) if word in _EXACT and _SPELLED[word] not in self.numbers]
        return list(dict.fromkeys(missing))


def stem(word: str) -> str:
    """*word*, in lower case, without what a sentence makes of it: at most its first five letters, so that relatives are the same."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _LEAST_STEM:
            word = word[: -len(suffix)]
            break
    if len(word) > _LEAST_STEM and word[-1] == word[-2]:
        word = word[:-1]
    return word[:_STEM_CHARS]


def is_date(word: str) -> bool:
    """Whether *word*, in lower case, names a month or a day of the week."""
    return word in _DATES


def _names_of(text: str) -> list[tuple[str, bool]]:
    """The names of *text*, and whether a sentence begins with them.

    They are links, words with capitals or digits within, and capitalised words that no sentence is known to begin with.
    """
    found = [(match.group().rstrip(".,;:!?)'\""), False) for match in _LINK.finditer(text)]
    plain = _LINK.sub(lambda match: " " * len(match.group()), text)
    spans = stopwords.spans(plain)
    openings = {start for start, _ in spans} if _is_titled(plain, spans) else {match.end() for match in _SENTENCE.finditer(plain)}
    for start, end in spans:
        opens = start in openings
        if _is_name(plain[start:end], opens=opens):
            found.append((plain[start:end], opens))
    return list(dict.fromkeys(found))


def _is_titled(text: str, spans: list[tuple[int, int]]) -> bool:
    """Whether *text* has a capital at nearly every word that a sentence would write small."""
    words = [text[start:end] for start, end in spans if not stopwords.is_plain(stopwords.plain_form(text[start:end]))]
    return len(words) >= _LEAST_TITLED and not any(word[0].islower() for word in words) and _SENTENCE_END.search(text) is None


def is_link(name: str) -> bool:
    """Whether *name* is an address of the web or of mail."""
    return _LINK.fullmatch(name) is not None


def _is_name(word: str, *, opens: bool) -> bool:
    lower = stopwords.plain_form(word)
    if lower in _DATES:
        return word[0].isupper() and not (opens and lower in {"may", "march"})
    if lower in _ALWAYS_CAPITAL or stopwords.is_plain(lower) or not any(map(str.isalpha, lower)):
        return False
    inner = word[1 : len(lower)]
    if any(map(str.isupper, inner)) or (any(map(str.isdigit, lower)) and not lower[0].isdigit()):
        return True
    if not word[0].isupper():
        return False
    return not opens or (lower not in _STARTS and not lower.endswith(_BUILT))


def _words(text: str) -> list[str]:
    found = []
    for start, end in stopwords.spans(text):
        word = stopwords.plain_form(text[start:end])
        found.append(word)
        if not word.isalpha():
            found += [part for part in re.split(r"[-.'\u2019]", word) if part]
    return found


def _numbers_of(text: str) -> set[str]:
    found: set[str] = set()
    for match in _NUMBER.finditer(text):
        one, parts = _read(match.group())
        found |= one | parts
    return found


def _read(number: str) -> tuple[set[str], set[str]]:
    """What *number* may be as one number, in each way to read it, and its parts if it is none: a date, a time, a version, a range."""
    if _THOUSANDS.fullmatch(number):
        joined = _plain(re.sub(r"\D", "", number))
        # with one dot or comma it may be a decimal as well
        return ({joined, _decimal(number)} if _DECIMAL.fullmatch(number) else {joined}), set()
    if _DECIMAL.fullmatch(number):
        return {_decimal(number)}, set()
    parts = {_plain(part) for part in re.split(r"\D+", number)}
    return (parts, set()) if len(parts) == 1 else (set(), parts)


def _decimal(number: str) -> str:
    whole, part = re.split(r"[.,]", number)
    kept = part.rstrip("0")
    return f"{_plain(whole)}.{kept}" if kept else _plain(whole)


def _plain(digits: str) -> str:
    # what is longer is no number but a code, and reading it would take quadratic time
    return str(int(digits)) if len(digits) <= _LONGEST_NUMBER else digits
