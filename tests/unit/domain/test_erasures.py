"""Selectors: what an erasure means, told of an event by its key, its session, its time and its facets."""

from hypothesis import given
from hypothesis import strategies as st

from kalends.domain.erasures import Erasure, Selector
from kalends.domain.events import EventId, Facets, event_key
from kalends.domain.queries import tags_of
from kalends.domain.scope import MemoryName, Scope, Tenant

HERE = Scope(Tenant("acme"), MemoryName("notes"))
THERE = Scope(Tenant("acme"), MemoryName("diary"))
ID = EventId("01JB0000000000000000000001")
KEY = event_key(HERE, ID)
FACETS = Facets(session_id="s", kind="note", actor="Ann", metadata={"label": "x", "number": 1})


def takes(selector: Selector, *, key=KEY, session="s", occurred_us=5, facets: Facets | None = FACETS) -> bool:
    """Whether the one event of these tests is meant."""
    return selector.takes(HERE, key, session=session, occurred_us=occurred_us, facets=facets)


def test_each_kind_means_what_it_names():
    """And nothing beside it."""
    assert takes(Selector(kind="everything"))
    assert takes(Selector(kind="event_ids", event_ids=(ID,)))
    assert not takes(Selector(kind="event_ids", event_ids=(ID,)), key=event_key(THERE, ID))
    assert takes(Selector(kind="session_id", session="s"))
    assert not takes(Selector(kind="session_id", session="s2"))
    assert takes(Selector(kind="document_id", session="document:d"), session="document:d")
    assert takes(Selector(kind="actor", actor="Ann"))
    assert not takes(Selector(kind="actor", actor="ann"))
    assert takes(Selector(kind="metadata", metadata={"label": "x"}))
    assert not takes(Selector(kind="metadata", metadata={"label": "x", "number": 2}))
    assert not takes(Selector(kind="metadata", metadata={"missing": "x"}))


def test_true_is_no_number():
    """As everywhere where metadata is compared."""
    assert not takes(Selector(kind="metadata", metadata={"number": True}))
    assert takes(Selector(kind="metadata", metadata={"number": 1.0}))


@given(st.integers(-10, 10), st.none() | st.integers(-10, 10), st.none() | st.integers(-10, 10))
def test_a_range_holds_its_first_moment_and_not_its_last(at, since, until):
    """An open end holds everything."""
    wanted = (since is None or since <= at) and (until is None or at < until)

    assert takes(Selector(kind="range", since_us=since, until_us=until), occurred_us=at) is wanted


def test_what_only_the_content_tells_is_not_said_without_it():
    """Rather not hidden by this question than everything hidden."""
    assert not takes(Selector(kind="actor", actor="Ann"), facets=None)
    assert Selector(kind="actor", actor="Ann").needs_facets


def test_only_whole_sessions_are_fenced():
    """Their keys are destroyed; the others' are not."""
    whole = {kind for kind in ("everything", "session_id", "document_id", "actor", "range", "event_ids", "metadata", "label")
             if Selector(kind=kind).is_whole}  # fmt: skip

    assert whole == {"everything", "session_id", "document_id"}
    assert Selector(kind="everything").takes_session("any")
    assert not Selector(kind="actor", actor="s").takes_session("s")


def test_a_digest_tells_selectors_apart_and_erasures_too():
    """The same name in another erasure has another digest, so that nobody can see that both were about one person."""
    one = Selector(kind="session_id", session="s")

    assert one.digest(HERE, "a") == one.digest(HERE, "a")
    assert len({one.digest(HERE, "a"), one.digest(HERE, "b"), one.digest(THERE, "a")}) == 3
    assert one.digest(HERE, "a") != Selector(kind="session_id", session="t").digest(HERE, "a")


def test_what_is_over_is_not_hidden_by_its_record():
    """The projections know by then."""

    def of(state, step=""):
        return Erasure(
            erasure_id=ID, scope=HERE, selector=None, selector_kind="everything", selector_digest="", reason="request",
            requested_by="t", undo_until_us=0, state=state, step=step, times={"hidden": 7},
        )  # fmt: skip

    assert [state for state in ("hidden", "unreadable", "erased", "undone") if of(state).is_active] == ["hidden", "unreadable"]
    assert not of("hidden").is_followed
    assert of("hidden", "tombstones").is_followed
    assert of("hidden").requested_us == 7


def test_a_label_means_what_has_it_among_others():
    """Only an event's own content says so, or the record of a document."""
    selector = Selector(kind="label", label="hr")
    facets = [Facets(session_id="s", kind="note", labels=one) for one in ((), ("board",), ("hr",), ("board", "hr"))]
    taken = [selector.takes(HERE, event_key(HERE, ID), session="s", occurred_us=0, facets=one) for one in (None, *facets)]

    assert taken == [False, False, False, True, True]
    assert selector.needs_facets
    assert selector.digest(HERE, "a") != Selector(kind="label", label="board").digest(HERE, "a")
    assert [any(set(group) & set(tags_of(one, target="events")) for group in selector.criteria().any_of) for one in facets] == taken[1:]
    assert not Selector(kind="everything").takes_labels(("hr",))
