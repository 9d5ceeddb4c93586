"""Check 7: the model, the vector engine or BM25 away; what is answered then, who says so, and that catching up needs nobody.

Belongs here: outages of parts, on the real product. A newcomer would get wrong: the model's absence is real (an empty folder, into which
the weights are linked later), while an engine in our own process can only be made to fail, by a stand-in before the real one.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.platform.people import Person
from tests.support import verdicts
from tests.support.api import Api
from tests.support.faulty import Faulty
from tests.support.instance import Instance, wait_until
from tests.support.waiting import until

from kalends.adapters.embedded import models
from kalends.app import container, folders
from kalends.app.container import ROLES
from kalends.app.engines import Engines, open_engines
from kalends.edge import listeners
from kalends.edge.http import build_api
from kalends.edge.probes import build_ops
from kalends.edge.services import Loop
from kalends.settings import HttpSettings, IndexSettings, Settings

SOON = {"KALENDS_INDEX__BREAKER_FIRST_S": "0.2", "KALENDS_INDEX__BREAKER_LONGEST_S": "0.5"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Modelless:
    """An instance that was started without its model."""

    person: Person
    memory: str
    weights: Path

    @property
    def states(self) -> dict[str, dict[str, Any]]:
        """What the status tells of each dependency."""
        return {one["name"]: one for one in self.person.good("GET", "/status")["dependencies"]}

    def metric(self, line: str) -> float:
        """The value of one line of the metrics."""
        text = httpx.get(f"{self.person.instance.ops_url}/metrics", trust_env=False).text
        return next(float(found.rpartition(" ")[2]) for found in text.splitlines() if found.startswith(line))


@pytest.fixture(scope="module")
def modelless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modelless]:
    """Two events written while the model's folder is empty."""
    folder = tmp_path_factory.mktemp("modelless")
    weights = folder / "weights"
    weights.mkdir()
    settings = {**SOON, "KALENDS_MODEL__FOLDER": str(weights)}
    with Instance(folder / "data", settings=settings) as instance, Person(instance.start(), instance.token) as person:
        memory = person.make_memory("modelless")
        texts = ("the cat sleeps in the sun", "a train leaves at nine")
        events = [{"session_id": "s", "kind": "note", "text": text} for text in texts]
        visibility = person.good("POST", f"{memory}/events", {"events": events})["visibility"]
        asked = {"query": "cat", "mode": "lexical", "min_visibility": visibility, "timeout_ms": 20_000}
        assert person.good("POST", f"{memory}/search", asked)["stale"] is False
        yield Modelless(person=person, memory=memory, weights=weights)


def test_without_a_model_answers_come_from_bm25(modelless: Modelless) -> None:
    """``degraded`` names the arm; what the arm alone was asked for is a 503 that names it too."""
    answer = modelless.person.good("POST", f"{modelless.memory}/search", {"query": "cat"})
    refused = modelless.person.ask("POST", f"{modelless.memory}/search", {"query": "cat", "mode": "vector"})

    assert answer["hits"][0]["text"] == "the cat sleeps in the sun"
    assert "vector" in answer["degraded"]
    assert answer["arms"] == ["lexical"]
    assert refused.status_code == 503
    assert refused.json()["dependency"] == "vector"
    assert int(refused.headers["retry-after"]) >= 1


def test_without_a_model_everything_else_works(modelless: Modelless) -> None:
    """Lists and sessions do; what must count tokens says which dependency it waits for, and is no 500."""
    person, memory = modelless.person, modelless.memory
    context = person.ask("POST", f"{memory}/context", {"max_tokens": 200})
    document = person.ask("POST", f"{memory}/documents", {"document_id": "d", "text": "# x"})

    assert len(person.good("GET", f"{memory}/events")["items"]) == 2
    assert person.good("GET", f"{memory}/sessions/s")["events"] == 2
    for answer in (context, document):
        assert answer.is_success or (answer.status_code == 503 and answer.json()["dependency"] == "model"), answer.text


def test_status_metric_probe_and_doctor_say_that_the_model_is_away(modelless: Modelless) -> None:
    """Each names it and the next step; ready it is all the same, because answers come."""
    person = modelless.person
    command = [sys.executable, "-m", "kalends.app.cli", "doctor", "--data", str(person.instance.data), "--json"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    findings = {one["name"]: one for one in json.loads(done.stdout)["findings"]}

    assert modelless.states["model"]["state"] == "down"
    assert modelless.states["model"]["next_step"]
    assert person.good("GET", "/status")["state"] == "degraded"
    assert modelless.metric('kalends_dependency_up{dependency="model"}') == 0
    assert wait_until(lambda: modelless.metric('kalends_degraded{component="model"}') == 1, seconds=10)
    assert httpx.get(f"{person.instance.ops_url}/readyz", trust_env=False).json()["ready"] is True
    assert done.returncode == 1
    assert any("model" in name and one["state"] != "ok" and one["next_step"] for name, one in findings.items()), findings


def test_once_the_model_is_there_the_vectors_catch_up_by_themselves(modelless: Modelless) -> None:
    """Linking the weights is all that anybody does."""
    source = models.model_folder()
    for name in ("tokenizer.json", "model.safetensors"):
        (modelless.weights / name).symlink_to(source / name)

    def caught_up() -> bool:
        answer = modelless.person.good("POST", f"{modelless.memory}/search", {"query": "where does the pet nap?", "mode": "hybrid"})
        found = [hit for hit in answer["hits"] if "vector" in hit["scores"]]
        return answer["degraded"] == [] and len(found) == 2

    assert wait_until(caught_up, seconds=60, every=0.5)
    assert modelless.states["model"]["state"] == "up"
    assert wait_until(lambda: modelless.person.good("GET", "/status")["state"] == "up", seconds=15, every=0.2)
    assert modelless.metric('kalends_dependency_up{dependency="model"}') == 1
    with Api(lambda: modelless.person.instance.url, lambda: modelless.person.instance.token) as api:
        api.quiet()
        verdicts.projections_agree(api)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosted:
    """A platform in this process, its engines behind stand-ins."""

    client: httpx.AsyncClient
    ops: httpx.AsyncClient
    lexicon: Faulty
    vectors: Faulty

    async def search(self, **asked: object) -> httpx.Response:
        """One search in the one memory."""
        return await self.client.post("/memories/engines/search", json={"query": "where does the cat nap?", **asked})

    async def status(self) -> dict[str, Any]:
        """Dependencies by name, and the state of all."""
        told = (await self.client.get("/status")).json()
        return {one["name"]: one["state"] for one in told["dependencies"]} | {"all": told["state"]}


@asynccontextmanager
async def hosted(data: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hosted]:
    """Everything that ``kalends up`` runs, without its process."""
    standing: dict[str, Faulty] = {}

    @asynccontextmanager
    async def open_faulty(*given: Any, **named: Any) -> AsyncIterator[Engines]:
        async with open_engines(*given, **named) as engines:
            standing["lexicon"] = Faulty(engines.lexicon, dependency="lexical")
            standing["vectors"] = Faulty(engines.vectors, dependency="vector")
            yield replace(engines, **standing)  # type: ignore[arg-type]

    monkeypatch.setattr(container, "open_engines", open_faulty)
    index = IndexSettings(breaker_first_s=0.1, breaker_longest_s=0.3, fetch_wait_s=0.5)
    settings = Settings(data=str(data), http=HttpSettings(port=0, ops_port=0), index=index)
    where = folders.folders_of(settings)
    folders.prepare(where)
    async with container.build(ROLES, settings, where) as built:
        api = build_api(built.services, authenticator=built.authenticator, settings=settings.http, metrics=built.metrics, version="0")
        ops = build_ops(built.services, metrics=built.metrics)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(_forever(loop)) for loop in built.loops]
            urls = []
            for application in (api, ops):
                listening = listeners.bind("127.0.0.1", 0)
                urls.append(f"http://127.0.0.1:{listening.getsockname()[1]}")
                running.append(tasks.create_task(listeners.serve(application, listening, drain_s=1.0)))
            await built.authenticator.wait_ready()
            headers = {"authorization": f"Bearer {where.token.read_text().strip()}"}
            async with contextlib.AsyncExitStack() as stack:
                client = httpx.AsyncClient(base_url=f"{urls[0]}/v1", headers=headers, timeout=30, trust_env=False)
                probes = httpx.AsyncClient(base_url=urls[1], trust_env=False)
                yield Hosted(client=await stack.enter_async_context(client), ops=await stack.enter_async_context(probes), **standing)
            for task in running:
                task.cancel()


async def _forever(loop: Loop) -> None:
    await loop.run()


async def remember(platform: Hosted, text: str, *, wait: bool = True) -> None:
    """Write one event, and wait for every projection or for none."""
    body = {"events": [{"session_id": "s", "kind": "note", "text": text}]}
    headers = {"prefer": "wait=20"} if wait else {}
    told = await platform.client.post("/memories/engines/events", json=body, headers=headers)
    assert told.status_code == (200 if wait else 202), told.text


async def test_each_engine_may_be_away_and_comes_back_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One away: the other answers and ``degraded`` names the first; both: 503 naming them; events written meanwhile are found later."""
    async with hosted(tmp_path / "data", monkeypatch) as platform:
        assert (await platform.client.put("/memories/engines", json={})).status_code == 201
        await remember(platform, "the cat sleeps in the sun")
        assert (await platform.search()).json()["degraded"] == []
        for away, arm, other in ((platform.vectors, "vector", "lexical"), (platform.lexicon, "lexical", "vector")):
            away.leave()
            answer = (await platform.search()).json()
            alone = await platform.search(mode=arm)
            await remember(platform, f"written while {arm} was away", wait=False)

            async def told_of(arm: str = arm) -> bool:
                return bool((await platform.status())[arm] == "down")

            assert arm in answer["degraded"]
            assert other in answer["arms"]
            assert answer["hits"][0]["text"] == "the cat sleeps in the sun"
            assert alone.status_code == 503
            assert alone.json()["dependency"] == arm
            await until(told_of)
            assert (await platform.status())["all"] == "degraded"
            assert f'kalends_dependency_up{{dependency="{arm}"}} 0.0' in (await platform.ops.get("/metrics")).text
            assert (await platform.ops.get("/readyz")).status_code == 200

            async def found(arm: str = arm) -> bool:
                answer = (await platform.search(mode=arm, rerank="off")).json()
                return any(hit["text"] == f"written while {arm} was away" for hit in answer["hits"])

            away.come_back()
            if arm == "vector":
                await until(found)

        platform.vectors.leave()
        platform.lexicon.leave()
        neither = await platform.search()

        assert neither.status_code == 503
        assert {"lexical", "vector"} == set(neither.json()["dependency"].split(", "))
        assert (await platform.client.get("/memories/engines/events")).status_code == 200

        platform.vectors.come_back()
        platform.lexicon.come_back()

        async def well() -> bool:
            answer = await platform.search(query="written while lexical was away")
            texts = [hit["text"] for hit in answer.json().get("hits", [])]
            digests = (await platform.client.get("/status?digests=true")).json()["digests"]
            same = verdicts.agree(digests)
            return same and (await platform.status())["all"] == "up" and texts[:1] == ["written while lexical was away"]

        await until(well)
