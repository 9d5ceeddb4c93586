"""``python -m tests.support.vllm build``: build the environment of vLLM, and say where it is."""

import sys
import time

from tests.support.vllm import place, recipe


def main(arguments: list[str]) -> int:
    """Do what the command line says; its exit status."""
    if arguments != ["build"]:
        sys.stderr.write("usage: python -m tests.support.vllm build\n")
        return 2
    started = time.monotonic()
    try:
        folder = place.built()
    except recipe.CannotBuild as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{folder}\nready after {time.monotonic() - started:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
