"""Disks of a test's own: an ext4 file system in an image file, mounted by loop, so that what the "device" has can be copied any time.

Belongs here: making, mounting, filling, freezing, copying and taking down. Does not belong here: what is written to it. A newcomer would
get wrong: a plain kill loses nothing, for the kernel keeps what was written; only the image holds what a power cut would leave.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.instance import wait_until

REQUIRED = "KALENDS_TEST_POWER_CUT"
"""Set to 1 by `make faults`: where no image can be mounted these tests then fail; otherwise they are skipped, which is said."""
_MOUNT_OPTIONS = "commit=600,noatime"
"""No periodic commit of the file system's own, which would make durable what nobody synced."""

_FREEZE, _THAW = 0xC0045877, 0xC0045878
"""FIFREEZE and FITHAW of linux/fs.h."""
_LONGEST_S = 120
_GUARD = """
import fcntl, os, select, sys
folder, thaw, longest = os.open(sys.argv[1], os.O_RDONLY), int(sys.argv[2]), int(sys.argv[3])
said = b"-"
while said:
    ready, _, _ = select.select([0], [], [], longest if said == b"+" else None)
    said = os.read(0, 1) if ready else b"-"
    try:
        if said != b"+":
            fcntl.ioctl(folder, thaw, 0)
    except OSError:
        continue
"""

Fill = Callable[[], None]
"""Takes whatever room there is."""
Frozen = Callable[[], contextlib.AbstractContextManager[None]]
"""The disk writes nothing for as long as the block runs, and whoever writes waits."""


def need_loop_devices(folder: Path) -> None:
    """Skip, or fail with what is missing, where images cannot be mounted; tries it with a small one in *folder*."""
    reason = _hindrance(folder)
    if reason and os.environ.get(REQUIRED) == "1":
        raise AssertionError(reason)
    if reason:
        pytest.skip(reason)


def _hindrance(folder: Path) -> str:
    programs = [name for name in ("mkfs.ext4", "losetup", "mount", "umount") if shutil.which(name) is None]
    if programs:
        return f"a power cut needs {', '.join(programs)}"
    if os.geteuid() != 0:
        return "a power cut needs root, to mount an image"
    trial = folder / "trial.img"
    try:
        make_image(trial, mib=16)
        with mounted(trial, folder / "trial"):
            return ""
    except AssertionError as error:
        return f"a power cut needs a loop device: {error}"
    finally:
        trial.unlink(missing_ok=True)


def make_image(path: Path, *, mib: int) -> None:
    """An empty ext4 file system in the sparse file *path*."""
    with path.open("wb") as file:
        file.truncate(mib << 20)
    _run("mkfs.ext4", "-q", "-F", "-m", "0", str(path))


@contextlib.contextmanager
def mounted(image: Path, folder: Path) -> Iterator[str]:
    """*image* at *folder* for as long as the block runs; yields the name of its loop device."""
    folder.mkdir(parents=True, exist_ok=True)
    device = _run("losetup", "--find", "--show", str(image))
    try:
        _run("mount", "-t", "ext4", "-o", _MOUNT_OPTIONS, device, str(folder))
        try:
            yield device
        finally:
            # a process that was killed a moment ago may still be letting go
            assert wait_until(lambda: _succeeds("umount", str(folder)), seconds=20, every=0.1), f"{folder} cannot be unmounted"
    finally:
        _run("losetup", "--detach", device)


@contextlib.contextmanager
def filled(folder: Path) -> Iterator[Fill]:
    """The disk of *folder* without a byte of room for as long as the block runs; what is yielded takes what was let go meanwhile."""
    ballast = folder / "ballast"
    taken = 0

    def fill() -> None:
        nonlocal taken
        with ballast.open("ab") as file:
            for piece in (1 << 20, 4096, 512):
                with contextlib.suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), taken, piece)
                        taken += piece

    fill()
    try:
        yield fill
    finally:
        ballast.unlink()


@contextlib.contextmanager
def freezing(folder: Path) -> Iterator[Frozen]:
    """What freezes the disk mounted at *folder*, as one that hangs.

    Who waits for a frozen disk cannot be killed, and a frozen disk cannot be unmounted: nothing may be taken down before it is thawed. So a
    process of its own thaws it: when it is told to, when we are killed meanwhile, and in any case after two minutes.
    """
    place = os.open(folder, os.O_RDONLY)
    # it reads and writes nothing on that disk
    command = [sys.executable, "-I", "-S", "-c", _GUARD, str(folder), str(_THAW), str(_LONGEST_S)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0, start_new_session=True) as guard:
        told = guard.stdin
        assert told is not None

        @contextlib.contextmanager
        def frozen() -> Iterator[None]:
            told.write(b"+")
            fcntl.ioctl(place, _FREEZE, 0)
            try:
                yield
            finally:
                told.write(b"-")
                # the guard thaws at once or has; that it did is seen by what the disk takes
                os.utime(folder)

        try:
            yield frozen
        finally:
            told.close()
            os.close(place)


def copy_as_the_device_has_it(image: Path, device: str, copy: Path) -> None:
    """Copy *image*, mounted on *device*, as a power cut at this moment would leave it; nothing may be writing meanwhile."""
    for _ in range(20):
        before = _writes(device)
        _run("cp", "--sparse=always", str(image), str(copy))
        if _writes(device) == before:
            return
    raise AssertionError(f"{device} is written to all the time")


def _writes(device: str) -> str:
    return Path(f"/sys/block/{Path(device).name}/stat").read_text(encoding="ascii").split()[4]


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout.strip()
