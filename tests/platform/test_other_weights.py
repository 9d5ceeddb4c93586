"""Other weights under the name of the model before: an update replaces model server and program together, and the vectors stay.

A newcomer would get wrong: nothing tells such weights from the old ones but what they make of a text, and no process that runs has seen
what the old ones made of it.
"""

from pathlib import Path

from tests.platform.people import Person
from tests.support.instance import Instance, wait_until
from tests.support.model_thread import DIMENSION, MODEL, ModelThread

TEXT = "the heron stood in the shallow water"


def test_vectors_of_other_weights_never_mix_with_those_that_are_stored(tmp_path: Path) -> None:
    """Answers go on without vectors and say so, the status says why; with the old weights, all is as it was."""
    with ModelThread() as model:
        settings = {
            "KALENDS_EMBEDDER__URLS": model.server.url,
            "KALENDS_EMBEDDER__MODEL": MODEL,
            "KALENDS_EMBEDDER__DIMENSION": str(DIMENSION),
        }
        weights = model.server.seed
        with Instance(tmp_path / "data", settings=settings) as instance:
            with Person(instance.start(), instance.token) as person:
                memory = person.make_memory("diary")
                person.remember(memory, TEXT)
                assert person.found(memory, "heron") == [TEXT]
                assert degraded(person, memory) == []
            instance.terminate()

            model.server.seed = "other weights"
            with Person(instance.start(), instance.token) as person:
                assert degraded(person, memory) == ["vector"]
                assert person.found(memory, "heron") == [TEXT]
                (told,) = [one for one in person.good("GET", "/status")["dependencies"] if one["name"] == "model"]
                assert "not the model that was there before" in told["detail"]
                person.ask("POST", f"{memory}/events", {"events": [{"session_id": "s", "kind": "note", "text": "an owl"}]})
            instance.terminate()

            model.server.seed = weights
            with Person(instance.start(), instance.token) as person:
                assert wait_until(lambda: person.found(memory, "owl", mode="vector")[:1] == ["an owl"], seconds=60)
                assert degraded(person, memory) == []


def degraded(person: Person, memory: str) -> list[str]:
    """What an answer says that it lacks."""
    found: list[str] = person.good("POST", f"{memory}/search", {"query": "heron", "rerank": "off"})["degraded"]
    return found
