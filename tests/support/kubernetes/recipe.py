"""The one program that holds the control plane, built from Go modules into the user's cache.

Belongs here: building it once for all that ask, under a hash of what goes into it. Does not belong here: which versions (``lock``), running
(``control_plane``). A newcomer would get wrong: the environment is remembered when this module is imported, because the tests take the home
away afterwards, and Go finds its own caches by it; and without the version stamped in by the linker the server calls itself v0.0.0, which
Helm takes at its word.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.support.fetched import CACHE, GO_COMPILER, made_once
from tests.support.kubernetes import lock

PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok")
BUILD_S = 3600.0
"""How long a build may take: 5 minutes on two free cores, and others may want them."""

_SOURCES = ("go.mod", "go.sum", "main.go")
_OUTSIDE = dict(os.environ)


class CannotBuild(Exception):
    """Go is missing, or the build failed; says which."""


@cache
def folder() -> Path:
    """Where the program is, or will be."""
    made_of = hashlib.sha256(f"{sys.platform} {platform.machine()} {GO_COMPILER} {_linker_flags()}".encode())
    for name in _SOURCES:
        made_of.update((lock.PROGRAM / name).read_bytes())
    return CACHE / f"kubernetes-{made_of.hexdigest()[:16]}"


@cache
def programs() -> Path:
    """The folder with one link per part, ``kubectl`` among them, built at first need; of several that ask at once one builds.

    Raises:
        CannotBuild: there is no Go, or it failed.
    """
    place = folder()
    with made_once(place) as made_by_us:
        if made_by_us:
            _build(place)
    return place / "bin"


def _build(place: Path) -> None:
    go = shutil.which("go", path=_OUTSIDE.get("PATH"))
    if go is None:
        raise CannotBuild("go is missing; the control plane of the tests is built with it (Go 1.24 or newer)")
    binary = place / "control-plane"
    flags = ["-trimpath", "-buildvcs=false", "-gcflags", GO_COMPILER, "-ldflags", _linker_flags()]
    command = [go, "build", *flags, "-o", str(binary), "."]
    with (place / "build.log").open("ab") as log:
        try:
            done = subprocess.run(
                command, cwd=lock.PROGRAM, stdout=log, stderr=log, env={**_OUTSIDE, "CGO_ENABLED": "0"}, check=False, timeout=BUILD_S
            )
        except subprocess.TimeoutExpired as error:
            raise CannotBuild(f"go build went on after {BUILD_S:g} s") from error
    if done.returncode:
        words = (place / "build.log").read_text(encoding="utf-8", errors="replace")[-2000:]
        raise CannotBuild(f"go build ended with {done.returncode}: {words}")
    (place / "bin").mkdir()
    for part in PARTS:
        (place / "bin" / part).symlink_to(Path("..") / binary.name)


def _linker_flags() -> str:
    minor = lock.KUBERNETES.split(".")[1]
    stamp = {
        "gitVersion": lock.KUBERNETES,
        "gitMajor": "1",
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": "0" * 40,
        "buildDate": "1970-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(["-s", "-w", *(f"-X {package}.{name}={value}" for package in packages for name, value in stamp.items())])
