"""What an instance must survive: its broker killed in the middle of writing, and a rebuild of everything that can be searched.

Belongs here: the two trials and what they claim. Does not belong here: the peaceful scenes (``story``). A newcomer would get wrong: only
what was *acknowledged* before the kill is promised; the client's retries, with the same ids, bring in the rest.
"""

import os
import signal
import threading
import time
from collections.abc import Sequence

from kalends.app.demo import asking, remembering
from kalends.app.demo.instance import Instance, wait_until
from kalends.app.demo.narrator import Narrator
from kalends.app.demo.questions import Question
from kalends.client import ClientError, Kalends, Memory, NewEvent, RetryPolicy
from kalends.domain.errors import Unavailable

CRASH_MEMORY = "crash-test"
CRASH_EVENTS = 600
CRASH_BATCH = 10
WRITTEN_S = 120.0
REBUILT_S = 300.0


class _Writer:
    """Appends in small batches in a thread of its own, and knows what was acknowledged."""

    def __init__(self, instance: Instance) -> None:
        self.acknowledged: list[str] = []
        self.retries = 0
        self.visibility = ""
        self.failure: ClientError | None = None
        self.spans: list[tuple[float, float]] = []
        """When each append began and was acknowledged."""
        self._client = instance.client(retry=RetryPolicy(total_s=WRITTEN_S, longest_s=0.5, on_retry=self._count))
        self._thread = threading.Thread(target=self._write, name="writer", daemon=True)

    def start(self) -> None:
        self._client.create_memory(CRASH_MEMORY)
        self._thread.start()

    def wait(self) -> bool:
        """Whether it came to its end in time."""
        self._thread.join(WRITTEN_S)
        ended = not self._thread.is_alive()
        if ended:
            self._client.close()
        return ended

    def _write(self) -> None:
        memory = self._client.memory(CRASH_MEMORY)
        try:
            for start in range(0, CRASH_EVENTS, CRASH_BATCH):
                numbers = range(start, start + CRASH_BATCH)
                batch = [
                    NewEvent(text=f"meter reading {number}: pressure {900 + number % 97} hPa", session_id="meter") for number in numbers
                ]
                began = time.monotonic()
                receipt = memory.append(batch)
                self.acknowledged += receipt.event_ids
                self.visibility = receipt.visibility
                self.spans.append((began, time.monotonic()))
        except ClientError as error:
            self.failure = error

    def _count(self, error: ClientError, pause: float) -> None:
        del error, pause
        self.retries += 1


def crash(narrator: Narrator, instance: Instance) -> None:
    """Kill the broker with SIGKILL while events are being written, and count afterwards."""
    with narrator.scene("kill -9 of the broker while events are being written"):
        writer = _Writer(instance)
        writer.start()
        if not wait_until(lambda: len(writer.acknowledged) >= CRASH_EVENTS // 3 or writer.failure is not None, seconds=WRITTEN_S):
            raise Unavailable("writing made no progress", dependency="log")
        broker = instance.broker()
        os.kill(broker, signal.SIGKILL)
        killed, before = time.monotonic(), len(writer.acknowledged)
        narrator.say(f"$ kill -9 {broker}    after {before} of {CRASH_EVENTS} events were acknowledged")
        ended = writer.wait()
        after = next((acknowledged - killed for began, acknowledged in writer.spans if began > killed), None)
        if after is not None:
            how = f"the client tried again {writer.retries} times, with the same event ids" if writer.retries else "no caller saw an error"
            narrator.say(f"A new broker took over; writing went on {after:.2f} s after the kill, and {how}.")
        if writer.failure is not None:
            narrator.say(f"  {writer.failure.detail}")
        narrator.check(f"all {CRASH_EVENTS} events are acknowledged", holds=ended and len(writer.acknowledged) == CRASH_EVENTS)
        narrator.check("another broker process runs now", holds=instance.broker() != broker)
        with instance.client() as kalends:
            memory = kalends.memory(CRASH_MEMORY)
            asking.wait_until_visible(memory, writer.visibility)
            _count(narrator, memory, writer.acknowledged)


def _count(narrator: Narrator, memory: Memory, acknowledged: Sequence[str]) -> None:
    stored: list[str] = []

    def listed() -> bool:
        stored[:] = [event.event_id for event in memory.events(limit=200)]
        return set(acknowledged) <= set(stored)

    found = wait_until(listed, seconds=asking.VISIBLE_S)
    narrator.check(f"none of the {len(acknowledged)} acknowledged events is missing", holds=found)
    narrator.check("none is stored twice", holds=len(stored) == len(set(stored)) == len(set(acknowledged)))


def rebuild(narrator: Narrator, kalends: Kalends, memory: Memory, asked: Sequence[Question]) -> None:
    """Drop what can be searched, build it anew from the log while it serves, and compare the answers."""
    with narrator.scene("Everything searchable is built anew from the log, while it serves"):
        # the meter's session still talks, so the calendar leaves it alone; all else is written
        if not wait_until(lambda: remembering.followed(kalends), seconds=remembering.WRITTEN_S):
            raise Unavailable("the projections did not catch up", dependency="index")
        before = _answers(memory, asked)
        held = kalends.status(digests=True).digests
        narrator.command("admin reindex --projection all --wait")
        answered: list[bool] = []

        def ask_meanwhile(_: object) -> None:
            if asked:
                answered.append(bool(asking.answer_to(memory, asked[0]).hits))

        started = time.monotonic()
        operation = kalends.reindex(projection="all")
        ended = kalends.wait_for(operation.operation_id, timeout_s=REBUILT_S, on_progress=ask_meanwhile)
        seconds = time.monotonic() - started
        narrator.say(f"{ended.done} of {ended.total} messages in {seconds:.1f} s; {sum(answered)} questions were answered meanwhile")
        narrator.check(f"the rebuild has {ended.state}", holds=ended.state == "succeeded")
        narrator.check("every question asked meanwhile was answered", holds=all(answered))
        after = _answers(memory, asked)
        same = sum(one == other for one, other in zip(before, after, strict=True))
        narrator.check(f"{same} of {len(asked)} questions have the same ten answers in the same order", holds=same == len(asked))
        rebuilt = kalends.status(digests=True).digests
        narrator.check("each projection holds exactly what it held", holds=held == rebuilt)


def _answers(memory: Memory, asked: Sequence[Question]) -> list[list[str]]:
    return [[hit.id for hit in asking.answer_to(memory, question).hits] for question in asked]
