"""Packages of Debian, fetched and unpacked into the user's cache for tests: nobody has to be root, and nothing is installed or started.

Belongs here: getting a package, once for all that ask. Does not belong here: which one (``prometheus``). A newcomer would get wrong: where
the machine's lists of packages are missing or too old, lists of our own are fetched beside the package, for the machine's own are root's.
"""

import hashlib
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.support.fetched import CACHE, CannotFetch, made_once

_PATIENCE_S = 300.0


@cache
def unpacked(package: str) -> Path:
    """The package's files, below a folder that is named by what they are made from; of several that ask at once one fetches.

    Raises:
        CannotFetch: this is no Debian or Ubuntu, or the package cannot be had.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise CannotFetch(f"{package} is not on the path, and only Debian's and Ubuntu's package can be fetched")
    release = platform.freedesktop_os_release()
    made_from = f"{package} {release.get('ID')} {release.get('VERSION_ID')} {platform.machine()}"
    folder = CACHE / f"{package}-{hashlib.sha256(made_from.encode()).hexdigest()[:16]}"
    with made_once(folder) as made_by_us:
        if made_by_us:
            _fetch(package, folder)
            [file] = folder.glob("*.deb")
            _run(["dpkg", "-x", str(file), str(folder)], folder)
            file.unlink()
    return folder


def _fetch(package: str, folder: Path) -> None:
    try:
        _run(["apt-get", "download", package], folder)
    except CannotFetch:
        lists, archives = folder / "apt" / "lists", folder / "apt" / "archives"
        for one in (lists / "partial", archives / "partial"):
            one.mkdir(parents=True)
        own = [f"-oDir::State::lists={lists}", f"-oDir::Cache={folder / 'apt'}", "-oAPT::Sandbox::User="]
        _run(["apt-get", *own, "update"], folder)
        _run(["apt-get", *own, "download", package], folder)
        shutil.rmtree(folder / "apt")


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=_PATIENCE_S)
    if done.returncode:
        raise CannotFetch(f"{' '.join(command)} failed: {(done.stdout + done.stderr)[-2000:]}")
