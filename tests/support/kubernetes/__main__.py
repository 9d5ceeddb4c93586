"""The control plane for people: ``python -m tests.support.kubernetes build | lock | up FOLDER``.

Belongs here: the verbs. ``build`` says where the program is, ``lock`` resolves its versions anew, ``up`` runs a cluster until Ctrl-C or
SIGTERM. Does not belong here: what they do. A newcomer would get wrong: a folder that was used before has its objects still, but the ports
are others, so take the kubeconfig that is printed.
"""

import signal
import sys
import threading
import time
from pathlib import Path

from tests.support.kubernetes import lock, recipe
from tests.support.kubernetes.control_plane import ControlPlane


def main(arguments: list[str]) -> int:
    """Do what the command line says; its exit status."""
    if arguments == ["lock"]:
        lock.write()
        return 0
    if arguments[:1] == ["up"] and len(arguments) == len(("up", "FOLDER")):
        _up(Path(arguments[1]).absolute())
        return 0
    if arguments != ["build"]:
        sys.stderr.write("usage: python -m tests.support.kubernetes build | lock | up FOLDER\n")
        return 2
    started = time.monotonic()
    try:
        folder = recipe.programs()
    except recipe.CannotBuild as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{folder}\nready after {time.monotonic() - started:.0f} s\n")
    return 0


def _up(folder: Path) -> None:
    """A cluster until a signal comes; its first line of output says that it is ready."""
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with ControlPlane(folder) as plane:
        plane.start()
        sys.stdout.write(f"KUBECONFIG={plane.kubeconfig}\n")
        sys.stdout.flush()
        over.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
