"""Asking and checking: questions, evidence, waiting until what was written can be found.

Belongs here: what several scenes do. Does not belong here: the order of the scenes (``story``). A newcomer would get wrong: an answer that
was given without one of its arms does not count as right.
"""

from kalends.app.demo.instance import wait_until
from kalends.app.demo.narrator import Narrator
from kalends.app.demo.questions import Question
from kalends.client import Memory, SearchAnswer
from kalends.client.requests import SearchOptions
from kalends.domain.errors import Unavailable

VISIBLE_S = 120.0
SEARCH_MS = 30_000
"""The server's limit; a busy machine may take long, and a demo on it should still be right."""


def wait_until_visible(memory: Memory, visibility: str) -> None:
    """Wait until every projection has what was written.

    Raises:
        Unavailable: they did not catch up in time.
    """

    def visible() -> bool:
        answer = memory.search("anything", limit=1, min_visibility=visibility, timeout_ms=SEARCH_MS)
        return not answer.stale

    if visibility and not wait_until(visible, seconds=VISIBLE_S):
        raise Unavailable(f"the projections did not catch up within {VISIBLE_S:g} s", dependency="index")


def ask(narrator: Narrator, memory: Memory, question: Question, *, most: int = 3) -> SearchAnswer:
    """Ask, show the first hits and check that the right one is among them."""
    window = f" --from {question.since:%Y-%m-%d} --to {question.until:%Y-%m-%d}" if question.since and question.until else ""
    narrator.command(f'search "{question.text}"{window}')
    answer = answer_to(memory, question)
    narrator.hits(answer.hits, most=max(most, min(question.place(answer.hits) or 0, 3)))
    took = f"{answer.took_ms.get('total', 0):.0f} ms, arms: {', '.join(answer.arms)}"
    place = question.place(answer.hits)
    where = "nowhere" if place is None else f"number {place}"
    narrator.check(f"the right answer is {where} ({took})", holds=question.right(answer) and not answer.degraded)
    return answer


def answer_to(memory: Memory, question: Question) -> SearchAnswer:
    """The first ten hits."""
    options: SearchOptions = {"limit": 10, "timeout_ms": SEARCH_MS, "targets": ("events", "documents")}
    if question.since is not None and question.until is not None:
        options |= {"since": question.since, "until": question.until}
    return memory.search(question.text, **options)


def evidence(narrator: Narrator, memory: Memory, event_id: str | None) -> None:
    """Show an event among its neighbours."""
    with narrator.scene("The evidence: what was said around it"):
        if event_id is None:
            narrator.check("there is an event to look at", holds=False)
            return
        narrator.command(f"event {event_id} --before 2 --after 2")
        found = memory.event(event_id, before=2, after=2)
        for one in found.before:
            narrator.event(one)
        narrator.event(found, found=True)
        for one in found.after:
            narrator.event(one)
        around = [*found.before, found, *found.after]
        ordered = [one.occurred_at for one in around] == sorted(one.occurred_at for one in around)
        same = {one.session_id for one in around} == {found.session_id}
        narrator.check("its neighbours are of the same session, in order", holds=ordered and same)
