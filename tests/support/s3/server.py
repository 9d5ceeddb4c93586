"""A server of S3 in a folder, on loopback, for as long as a test wants it.

Belongs here: starting, stopping, standing still. Does not belong here: building it (``recipe``). A newcomer would get wrong: it keeps what
it knows of an object in files beside the folder, because not every disk of a test machine takes attributes of files.
"""

import os
import signal
import subprocess
from pathlib import Path
from typing import Self
from urllib.error import HTTPError
from urllib.request import urlopen

from kalends.settings import S3Settings
from tests.support.instance import free_port, wait_until
from tests.support.s3 import recipe

ACCESS, SECRET, BUCKET = "kalends-test", "not-a-secret-of-anybody", "kalends"
DOMAIN = "s3.test"
"""Below this name a bucket is part of the host's."""


class S3Server:
    """One server, with the bucket ``BUCKET``; it has ended when the ``with`` block does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects = folder / "objects"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        for path in (self.objects / BUCKET, self.folder / "beside"):
            path.mkdir(parents=True, exist_ok=True)
        for name, text in (("access", ACCESS), ("secret", SECRET)):
            (self.folder / name).write_text(text + "\n", encoding="utf-8")
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def last_words(self) -> str:
        """The end of what it said."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:]

    def settings(self, **changes: object) -> S3Settings:
        """How it is used."""
        names = {"access_key_file": str(self.folder / "access"), "secret_key_file": str(self.folder / "secret"), "url": self.url}
        return S3Settings(**{**names, "connect_s": 2.0, "request_s": 10.0, "retries": 1, "deadline_s": 10.0, **changes})

    def start(self) -> Self:
        """Start it on its port, and wait until it answers."""
        program = recipe.server()
        keys = {"ROOT_ACCESS_KEY_ID": ACCESS, "ROOT_SECRET_ACCESS_KEY": SECRET, "HOME": str(self.folder), "PATH": os.environ["PATH"]}
        command = [str(program), "--port", f"127.0.0.1:{self.port}", "--virtual-domain", DOMAIN, "--quiet"]
        backend = ["posix", "--sidecar", str(self.folder / "beside"), str(self.objects)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([*command, *backend], stdout=log, stderr=log, env=keys)
        assert wait_until(self._answers, seconds=30), self.last_words
        return self

    def stop(self) -> None:
        """End it at once, as a failing machine does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait(timeout=20)
            self._process = None

    def pause(self) -> None:
        """It takes connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.last_words
        try:
            urlopen(self.url, timeout=5).close()  # noqa: S310 - our own server on loopback
        except HTTPError:
            return True  # it refuses who has no key, so it is there
        except OSError:
            return False
        return True
