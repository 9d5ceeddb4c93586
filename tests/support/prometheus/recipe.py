"""Prometheus and promtool: this machine's, or Debian's package unpacked into the user's cache.

Belongs here: finding and fetching, once for all that ask. Does not belong here: starting (``server``). A newcomer would get wrong: the
home folder is looked up when this module is imported, because the tests change it afterwards; and the package is unpacked, not installed,
so nobody has to be root and no service is started.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

PACKAGE = "prometheus"
_PATIENCE_S = 300.0
_HOME = Path.home()
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or _HOME / ".cache") / "kalends"


class CannotFetch(Exception):
    """Something that the recipe needs is missing, or a step of it failed; says which."""


def prometheus() -> Path:
    """The server.

    Raises:
        CannotFetch: there is none, and the package cannot be had.
    """
    return _program("prometheus")


def promtool() -> Path:
    """What checks rules.

    Raises:
        CannotFetch: there is none, and the package cannot be had.
    """
    return _program("promtool")


@cache
def _program(name: str) -> Path:
    found = shutil.which(name)
    return Path(found) if found else _unpacked() / "usr" / "bin" / name


@cache
def _unpacked() -> Path:
    """The package's files, below a folder that is named by what they are made from."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise CannotFetch("prometheus and promtool are not on the path, and only Debian's and Ubuntu's package can be fetched")
    release = platform.freedesktop_os_release()
    made_from = f"{PACKAGE} {release.get('ID')} {release.get('VERSION_ID')} {platform.machine()}"
    folder = _CACHE / f"prometheus-{hashlib.sha256(made_from.encode()).hexdigest()[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _run(["apt-get", "download", PACKAGE], folder)
            [package] = folder.glob("*.deb")
            _run(["dpkg", "-x", str(package), str(folder)], folder)
            package.unlink()
            (folder / "ready").touch()
    return folder


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=_PATIENCE_S)
    if done.returncode:
        raise CannotFetch(f"{' '.join(command[:2])} failed (is the list of packages there?): {(done.stdout + done.stderr)[-2000:]}")
