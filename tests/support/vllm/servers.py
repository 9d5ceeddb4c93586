"""The vLLM servers that tests talk to: started at first use and ended with the test process, or given by ``KALENDS_TEST_VLLM_URL``.

Belongs here: starting, waiting until ready, ending with everything that they started. Does not belong here: what is asked. A newcomer would
get wrong: all three are started together, because a start takes a minute of mostly waiting; and a server is a tree of processes, of which
the tests know the root only, so the whole process group is ended.

``KALENDS_TEST_VLLM_URL`` is JSON: ``{"embedder": {"urls": …, "token_urls": …, "model": …}, "reranker": {"urls": …, "model": …},
"chat": {"urls": …, "model": …}}``. The embedder has to serve all-MiniLM-L6-v2, whatever it calls it, because its vectors are compared.
"""

import atexit
import contextlib
import http.client
import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import pytest

from kalends.adapters.embedded.models import model_folder
from kalends.settings import EmbedderSettings, RerankerSettings
from tests.support.instance import Child, free_port, wait_until
from tests.support.vllm import place, recipe

GIVEN = os.environ.get("KALENDS_TEST_VLLM_URL", "")
EMBEDDING_MODEL = "all-minilm-l6-v2"
PATIENCE_S = 120.0
"""The deadline of a request in tests: the machine may be busy with everything at once."""

BUILD_S = 1800.0
"""The first test of a machine builds the environment."""

MARKS = (pytest.mark.vllm, pytest.mark.timeout(BUILD_S))
"""What every test of a real server is marked with."""

_START_S = 600.0
_STOP_S = 30.0

_EMBED = ("--runner", "pooling", "--convert", "embed", "--dtype", "float32", "--max-num-seqs", "32", "--enforce-eager")
_BY_TOKEN = ("--pooler-config", '{"task": "token_embed"}')
_CHAT = ("--dtype", "bfloat16", "--max-model-len", "4096", "--max-num-seqs", "4", "--enforce-eager")


class Given(msgspec.Struct, forbid_unknown_fields=True):
    """A model and its servers."""

    urls: str
    model: str
    token_urls: str = ""


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models that are there, each by its servers."""

    embedder: Given
    reranker: Given
    chat: Given


class VllmServer:
    """One ``vllm serve`` on a free port of loopback, with a home and a folder for sockets of its own."""

    def __init__(self, model: Path, name: str, options: Sequence[str]) -> None:
        built = place.built()
        self._port = free_port()
        # beside the sockets' own names not much fits into the path of one
        self._home = Path(tempfile.mkdtemp(prefix="kalends-vllm-"))
        self.log = self._home / "log"
        command = [str(recipe.interpreter(built)), "-m", "vllm.entrypoints.cli.main", "serve", str(model), "--served-model-name", name]
        quiet = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        own = {"HOME": str(self._home), "TMPDIR": str(self._home), "VLLM_HOST_IP": "127.0.0.1", "VLLM_CPU_KVCACHE_SPACE": "1"}
        environment = {name: value for name, value in place.OUTSIDE.items() if not name.startswith("XDG_")} | quiet | own
        self._child = Child([*command, "--host", "127.0.0.1", "--port", str(self._port), *options], env=environment, errors=self.log)

    @property
    def url(self) -> str:
        """The root of its API."""
        return f"http://127.0.0.1:{self._port}"

    def ready(self) -> None:
        """Wait until it answers."""
        assert wait_until(lambda: self._healthy() or not self._child.running, seconds=_START_S, every=0.25), self._last_words()
        assert self._child.running, self._last_words()

    def ask_to_end(self) -> None:
        """SIGTERM; who waits comes later."""
        if self._child.running:
            self._child.send(signal.SIGTERM)

    def close(self) -> None:
        """End it and everything that it started."""
        self.ask_to_end()
        wait_until(lambda: not self._child.running, seconds=_STOP_S)
        # as a rule the whole group has ended with it
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.close()
        shutil.rmtree(self._home, ignore_errors=True)

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _last_words(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-3000:]


@cache
def models() -> Models:
    """The models: those that were given, else those of servers that are started now and end with this process."""
    if GIVEN:
        return msgspec.convert(msgspec.json.decode(GIVEN, type=dict[str, Given]), Models)
    chat = recipe.chat_model(place.built())
    started = {
        "embed": VllmServer(model_folder(), EMBEDDING_MODEL, _EMBED),
        "by_token": VllmServer(model_folder(), EMBEDDING_MODEL, [*_EMBED, *_BY_TOKEN]),
        "chat": VllmServer(chat, recipe.CHAT_MODEL, _CHAT),
    }
    atexit.register(_end, list(started.values()))
    for server in started.values():
        server.ready()
    embed = started["embed"].url
    return Models(
        embedder=Given(urls=embed, token_urls=started["by_token"].url, model=EMBEDDING_MODEL),
        reranker=Given(urls=embed, model=EMBEDDING_MODEL),
        chat=Given(urls=f"{started['chat'].url}/v1", model=recipe.CHAT_MODEL),
    )


def embedder_settings(**changes: object) -> EmbedderSettings:
    """Settings of the embedder that is there, with its servers of token vectors; *changes* are of fields."""
    given = models().embedder
    wanted = {"urls": given.urls, "token_urls": given.token_urls, "model": given.model, "deadline_s": PATIENCE_S} | changes
    return msgspec.convert(wanted, EmbedderSettings)


def reranker_settings(**changes: object) -> RerankerSettings:
    """Settings of the reranker that is there; *changes* are of fields."""
    given = models().reranker
    return msgspec.convert({"urls": given.urls, "model": given.model, "deadline_s": PATIENCE_S} | changes, RerankerSettings)


def _end(started: Sequence[VllmServer]) -> None:
    for server in started:
        server.ask_to_end()
    for server in started:
        server.close()
