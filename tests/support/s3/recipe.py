"""The server, built once from the Go module proxy into the user's cache.

Belongs here: building it. Does not belong here: starting it (``server``). A newcomer would get wrong: the module's own lock decides on
every version below it, so the number here is all that there is to raise; and building takes minutes of a processor, once.
"""

import hashlib
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.support.fetched import CACHE, GO_COMPILER, HOME, CannotFetch, made_once

MODULE = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"

_PATIENCE_S = 900.0


@cache
def server() -> Path:
    """The program.

    Raises:
        CannotFetch: there is no Go, or it could not build it.
    """
    folder = CACHE / f"s3-{hashlib.sha256(f'{MODULE} {GO_COMPILER}'.encode()).hexdigest()[:16]}"
    with made_once(folder) as made_by_us:
        if made_by_us:
            _build(folder)
    return folder / "versitygw"


def _build(folder: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise CannotFetch("go is missing; the server of S3 is built with it (Debian and Ubuntu: apt-get install -y golang)")
    wanted = {"HOME": str(HOME), "GOBIN": str(folder), "CGO_ENABLED": "0", "GOFLAGS": "-trimpath", "GOTOOLCHAIN": "auto"}
    command = [go, "install", f"-gcflags={GO_COMPILER}", "-ldflags=-s -w", MODULE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE_S, env={**os.environ, **wanted})
    if done.returncode:
        raise CannotFetch(f"go failed: {(done.stdout + done.stderr)[-2000:]}")
