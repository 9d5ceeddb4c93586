"""A Prometheus on loopback that scrapes what a test gives it, with the rules that we ship.

Belongs here: starting, asking, ending. Does not belong here: what is asked. A newcomer would get wrong: it scrapes every half second, so
that a rate is known after a second and no test has to wait for minutes.
"""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from tests.support.instance import Child, clean_environment, free_port, wait_until
from tests.support.prometheus import recipe

START_S = 60.0
_ASK_S = 10.0


class Refused(Exception):
    """A query that Prometheus does not understand; says why."""


class Prometheus:
    """One server in *folder* that scrapes *targets* (``host:port``) and evaluates *rules*; a context manager that ends it."""

    def __init__(self, folder: Path, *, targets: Sequence[str], rules: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._targets = list(targets)
        self._rules = rules
        self._child: Child | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        scraped = {"job_name": "kalends", "static_configs": [{"targets": self._targets}]}
        config = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [str(self._rules)],
            "scrape_configs": [scraped],
        }
        file = self._folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        command = [
            str(recipe.prometheus()),
            f"--config.file={file}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--enable-feature=exemplar-storage",
        ]
        self._child = Child(command, env=clean_environment(), errors=self._folder / "prometheus.log")
        assert wait_until(self._is_ready, seconds=START_S), self.last_words
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.close()

    @property
    def last_words(self) -> str:
        """The end of what it wrote."""
        log = self._folder / "prometheus.log"
        return log.read_text(encoding="utf-8", errors="replace")[-3000:] if log.exists() else ""

    def ask(self, path: str, **given: str) -> Any:
        """What its API answers at *path*.

        Raises:
            Refused: it does not understand. OSError: it does not answer.
        """
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(given)}"
        try:
            with urllib.request.urlopen(url, timeout=_ASK_S) as answer:
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as error:
            raise Refused(error.read().decode()) from error

    def samples(self, query: str) -> list[dict[str, Any]]:
        """What *query* gives now: series with their value.

        Raises:
            Refused: it is no query.
        """
        found: list[dict[str, Any]] = self.ask("query", query=query)["result"]
        return found

    def _is_ready(self) -> bool:
        assert self._child is not None
        assert self._child.running, self.last_words
        try:
            return bool(self.samples("up"))
        except (OSError, Refused):
            return False
