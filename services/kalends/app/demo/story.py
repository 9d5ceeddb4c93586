"""The story itself, scene after scene.

Belongs here: what is done and claimed. Does not belong here: the instance, the questions, how things are printed. A newcomer would get
wrong: there is no waiting for a fixed time anywhere; every wait ends when its condition holds, or fails the demo at its deadline.
"""

import itertools
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import msgspec
from rich.console import Console

from kalends.app import intake
from kalends.app.commands import write
from kalends.app.demo import asking, questions, remembering, trials
from kalends.app.demo.instance import Instance
from kalends.app.demo.narrator import Narrator
from kalends.app.demo.questions import Question
from kalends.client import Memory
from kalends.domain.errors import KalendsError, Unavailable

MEMORY = "atlas"


def tell(path: Path | None, *, data: Path | None, keep: bool, as_json: bool) -> int:
    """Tell the story and return the exit code: 0 if every answer was the expected one, else 1.

    *path*: the reader's own events or documents; *data*: the instance's folder, a temporary one if None; *keep* leaves it.
    """
    console = Console(stderr=as_json, highlight=False)
    narrator = Narrator(console)
    folder = data or Path(tempfile.mkdtemp(prefix="kalends-demo-"))
    if data is not None and data.exists() and any(data.iterdir()):
        console.print(f"{data} is not empty; the demo writes into a folder of its own only", style="red", markup=False)
        return 2
    started = time.monotonic()
    try:
        with _termination_is_an_interrupt():
            _play(narrator, folder, path)
    except KalendsError as error:
        narrator.console.print(f"✗ the story broke off: {error.detail}", style="bold red", markup=False)
        return 1
    finally:
        if not keep and data is None:
            shutil.rmtree(folder, ignore_errors=True)
    seconds = time.monotonic() - started
    if as_json:
        sys.stdout.write(
            msgspec.json.encode({"passed": not narrator.failed, "seconds": seconds, "scenes": narrator.scenes}).decode() + "\n"
        )
    return _end(narrator, seconds, folder if keep or data is not None else None)


def _play(narrator: Narrator, folder: Path, path: Path | None) -> None:
    narrator.say("Kalends keeps what agents say and do, finds it again, and loses nothing. Each ✓ below was checked.")
    instance = Instance(folder)
    with narrator.scene("An instance of its own, on real stores"):
        narrator.command(f"up --data {folder} --port 0 --ops-port 0")
        instance.start()
    try:
        with instance.client() as kalends:
            status = kalends.status()
            narrator.say(f"Kalends {status.version} answers at {instance.url}")
            memory = kalends.memory(MEMORY)
            # it would write down even what is still talked about, at a time that has nothing to do with the story
            kalends.pause_job("toc-day")
            asked = _own_history(narrator, memory) if path is None else _readers_data(narrator, memory, path)
            remembering.wait_until_written(kalends)
            if path is None:
                remembering.calendar(narrator, memory)
        trials.crash(narrator, instance)
        with instance.client() as kalends:
            trials.rebuild(narrator, kalends, kalends.memory(MEMORY), asked)
    finally:
        instance.close()
    with narrator.scene("Nothing is left running"):
        left = instance.left_running()
        narrator.check("the instance and its broker have ended", holds=not left)


def _own_history(narrator: Narrator, memory: Memory) -> list[Question]:
    with narrator.scene("Six weeks of an agent's work"):
        source = resources.files("kalends.app.demo") / "history.jsonl"
        with resources.as_file(source) as history:
            count = _ingest(narrator, memory, [intake.Source(path=history)], shown_as="history.jsonl")
            info = memory.info()
            first, last = (f"{moment:%d %B %Y}" if moment else "never" for moment in (info.first_at, info.last_at))
            narrator.say(f"{info.events} events in {info.sessions} sessions, {first} to {last}: atlas helps a team to migrate its billing.")
            again = write.Tally()
            _store(memory, [intake.Source(path=history)], again)
            narrator.check("the same file once more stores nothing twice", holds=again.events["duplicate"] == count)
    with narrator.scene("A question with its keywords"):
        answer = asking.ask(narrator, memory, questions.KEYWORD)
    with narrator.scene("Questions in other words than the answers"):
        for question in questions.PARAPHRASES:
            asking.ask(narrator, memory, question, most=1)
            _by_words_alone(narrator, memory, question)
    with narrator.scene("The same question about two different weeks"):
        asking.ask(narrator, memory, questions.SEPTEMBER, most=2)
        asking.ask(narrator, memory, questions.OCTOBER, most=2)
    found = next((hit.id for hit in answer.hits if questions.KEYWORD.is_answer(hit)), None)
    asking.evidence(narrator, memory, found)
    return [questions.KEYWORD, *questions.PARAPHRASES, questions.SEPTEMBER, questions.OCTOBER, *questions.OTHERS]


def _by_words_alone(narrator: Narrator, memory: Memory, question: Question) -> None:
    answer = memory.search(question.text, mode="lexical", timeout_ms=asking.SEARCH_MS)
    place = question.place(answer.hits)
    narrator.say(f"  By words alone it would be {'nowhere among the first ten' if place is None else f'number {place}'}.")


def _readers_data(narrator: Narrator, memory: Memory, path: Path) -> list[Question]:
    with narrator.scene(f"Your data: {path.name}"):
        if not _ingest(narrator, memory, intake.sources([str(path)]), shown_as=str(path)):
            raise Unavailable(f"there is nothing to store in {path}")
        asked = questions.made_of(list(itertools.islice(memory.events(limit=200), 1000)))
    if not asked:
        narrator.say("The texts are too short or too much alike to make questions of; the story goes on without them.")
        return []
    with narrator.scene("Questions made of your data's rarest words"):
        for question in asked[:-1]:
            asking.ask(narrator, memory, question, most=1)
    with narrator.scene("A question about one day"):
        asking.ask(narrator, memory, asked[-1], most=2)
    asking.evidence(narrator, memory, asked[0].event_id)
    return asked


def _ingest(narrator: Narrator, memory: Memory, sources: Sequence[intake.Source], *, shown_as: str) -> int:
    memory.create()
    narrator.command(f"ingest {shown_as}")
    tally = write.Tally()
    started = time.monotonic()
    _store(memory, sources, tally)
    written = time.monotonic() - started
    asking.wait_until_visible(memory, tally.visibility)
    stored = tally.events["new"] + tally.documents["new"]
    rejected = tally.events["rejected"] + tally.documents["rejected"]
    for one in tally.rejected[:3]:
        narrator.say(f"  not stored: line {one.line}: {one.reason}")
    narrator.say(f"{stored} acknowledged after {written:.2f} s, all of them found after {time.monotonic() - started:.2f} s")
    narrator.check(f"{stored} are stored", holds=stored > 0 and not rejected)
    return stored


def _store(memory: Memory, sources: Sequence[intake.Source], tally: write.Tally) -> None:
    for source in sources:
        if source.path is not None and source.document_id is None:
            with source.path.open("rb") as stream:
                for batch in write.batches(intake.lines(stream)):
                    write.store_lines(memory, batch, tally, source=source.name)
        else:
            write.store_document(memory, source, tally)


def _end(narrator: Narrator, seconds: float, kept: Path | None) -> int:
    narrator.console.print()
    if kept is not None:
        narrator.say(f"The instance's folder is {kept}; `kalends up --data {kept}` serves it again.")
    checks = sum(len(scene.checks) for scene in narrator.scenes)
    if narrator.failed:
        narrator.console.print(f"✗ {len(narrator.failed)} of {checks} checks failed, after {seconds:.0f} s", style="bold red")
        return 1
    narrator.console.print(f"✓ all {checks} checks held, in {seconds:.0f} s", style="bold green")
    return 0


@contextmanager
def _termination_is_an_interrupt() -> Iterator[None]:
    """Let SIGTERM unwind the story as Ctrl-C does, so that the instance is ended in either case."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
