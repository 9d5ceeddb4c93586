"""Nodes as values: ids of grips, citations of lines below, and a node of which nothing is left."""

from hypothesis import given
from hypothesis import strategies as st
from tests.support import strategies

from kalends.domain.calendar import GRIPS_PER_BULLET, Bullet, Claim, Evidence, Grip, Node, cited, grip_of
from kalends.domain.events import EventId
from kalends.domain.periods import period_of

PLACE = {"session_id": "s", "occurred_us": 5, "speaker": "ada"}


def grip(excerpt: str = "said", *, first: str = "E1", last: str = "E1", **place) -> Grip:
    """The grip of that excerpt."""
    return grip_of(excerpt, first=EventId(first), last=EventId(last), **{**PLACE, **place})


@given(strategies.TEXTS, strategies.event_ids(), strategies.event_ids())
def test_the_same_evidence_always_has_the_same_id(excerpt, first, last):
    """Whoever said it when: the id names the excerpt and its span, and nothing can be read from it."""
    one = grip(excerpt, first=first, last=last)

    assert one.id == grip(excerpt, first=first, last=last, session_id="t", occurred_us=9, speaker="bob").id
    assert one.id.startswith("grip:")
    assert len(one.id) == len("grip:") + 24
    assert int(one.id.removeprefix("grip:"), 16) >= 0


def test_other_evidence_has_another_id():
    """The excerpt, the first event and the last one all count, and where one ends and the next begins."""
    ids = {one.id for one in (grip(), grip("else"), grip(first="E0"), grip(last="E2"), grip("x", first="E1\0E1", last=""))}

    assert len(ids) == 5


def claim(text: str, *keys: str) -> Claim:
    """A claim that rests on the lines of these keys."""
    return Claim(text=text, evidence=tuple(Evidence(key=key, excerpt="") for key in keys))


def test_a_claim_cites_the_grips_of_the_lines_that_it_rests_on():
    """Each once, in the order of the evidence."""
    one, two = grip("one"), grip("two")
    lines = {"a": [one, two], "b": [two]}

    assert cited([claim("both", "b", "a"), claim("one", "b")], lines) == (
        Bullet(text="both", grips=(two, one)),
        Bullet(text="one", grips=(two,)),
    )


@given(st.integers(1, 30))
def test_a_line_cites_a_few_grips_at_most(count):
    """A year rests on thousands; the first ones are shown."""
    grips = [grip(f"number {number}") for number in range(count)]
    (bullet,) = cited([claim("all", *(str(number) for number in range(count)))], {str(at): [one] for at, one in enumerate(grips)})

    assert bullet.grips == tuple(grips[:GRIPS_PER_BULLET])


def test_a_node_of_which_nothing_is_said_is_empty():
    """All that a version that is gone needs to say is which node it is and when it was."""
    gone = Node(period=period_of("toc:day:2026-01-30"), first_us=1, last_us=2, gone=True)

    assert (gone.title, gone.bullets, gone.children, gone.events, gone.event_count) == ("", (), (), (), 0)
