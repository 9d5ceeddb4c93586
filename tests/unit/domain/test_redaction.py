"""Policies, masks and cutting, without any detector."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from kalends.domain.events import Event, EventId, Facets
from kalends.domain.redaction import CATEGORIES, DEFAULTS, Cleaning, Finding, Policy, cut, mask

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def finding(start: int, end: int, label: str = "word", category: str = "credentials") -> Finding:
    """A finding at a place."""
    return Finding(label=label, category=category, start=start, end=end)


def words(text: str, categories: frozenset[str]) -> list[Finding]:
    """A detector of plain words: ``key`` is a credential, ``mail`` an address."""
    known = {"key": "credentials", "mail": "email"}
    return [
        finding(start, start + len(word), word, category)
        for word, category in known.items()
        if category in categories
        for start in range(len(text))
        if text.startswith(word, start)
    ]


def test_by_default_credentials_are_masked_and_personal_data_is_left_alone():
    """In every kind of event."""
    assert Policy().of_kind("message") == DEFAULTS == {category: "mask" if category == "credentials" else "off" for category in CATEGORIES}
    assert Policy().is_default
    assert Policy(actions={"credentials": "mask", "card": "off"}).is_default


def test_a_kind_overrides_its_memory_and_the_memory_overrides_the_default():
    """In what each of them names."""
    policy = Policy(actions={"email": "mask", "card": "refuse"}, kinds={"note": {"email": "refuse", "credentials": "off"}})

    assert policy.of_kind("message") == {**DEFAULTS, "email": "mask", "card": "refuse"}
    assert policy.of_kind("note") == {**DEFAULTS, "email": "refuse", "card": "refuse", "credentials": "off"}
    assert not policy.is_default


def test_what_is_found_is_replaced_and_told_once():
    """Each label once, in order, whatever it was found in."""
    cleaning = Cleaning(words, {**DEFAULTS, "email": "mask"})

    assert cleaning.text("mail and key, mail") == "[masked:mail] and [masked:key], [masked:mail]"
    assert cleaning.metadata({"a": "key", "b": 7, "key": None}) == {"a": "[masked:key]", "b": 7, "key": None}
    assert (cleaning.masked, cleaning.refused) == (("key", "mail"), ())


def test_what_is_refused_is_told_apart():
    """And is not in what is returned either."""
    cleaning = Cleaning(words, {**DEFAULTS, "email": "refuse"})

    assert "mail and" not in cleaning.text("mail and key")
    assert (cleaning.masked, cleaning.refused) == (("key",), ("mail",))


def test_a_category_that_is_off_is_not_looked_for():
    """Which is what makes it cost nothing."""
    cleaning = Cleaning(words, dict.fromkeys(CATEGORIES, "off"))

    assert cleaning.text("mail and key") == "mail and key"
    assert cleaning.masked == ()


def test_an_event_that_holds_nothing_is_the_same_object():
    """Nothing is copied for the many that are clean; the actor is never cleaned."""
    event = Event(
        id=EventId("01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        facets=Facets(session_id="s", kind="message", actor="key", metadata={"a": "b"}),
        text="hello",
        occurred_at=NOON,
        recorded_at=NOON,
    )
    cleaning = Cleaning(words, DEFAULTS)

    assert cleaning.event(event) is event
    changed = cleaning.event(replace(event, text="the key"))
    assert (changed.text, changed.facets) == ("the [masked:key]", event.facets)


def test_overlapping_findings_are_one_mask_with_the_longest_ones_name():
    """Two detectors that know one secret do not leave two masks, or a rest."""
    found = [finding(2, 6, "short"), finding(4, 12, "longer"), finding(12, 13, "next")]

    assert cut("0123456789abcdef", found) == "01[masked:longer][masked:next]def"


@given(text=st.text(alphabet="abcdef", max_size=40), spans=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 10)), max_size=6))
def test_cutting_keeps_every_character_outside_and_none_inside(text: str, spans: list[tuple[int, int]]):
    """Whatever the order and overlap of the findings."""
    found = [finding(start, min(start + size, len(text)), "x") for start, size in spans if start < len(text)]
    inside = {place for one in found for place in range(one.start, one.end)}

    kept = cut(text, found).replace(mask("x"), "")

    assert kept == "".join(character for place, character in enumerate(text) if place not in inside)
