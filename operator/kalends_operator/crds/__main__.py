"""``python -m kalends_operator.crds FOLDER``: write the CRDs there."""

import sys
from pathlib import Path

from kalends_operator.crds import manifests


def main(arguments: list[str]) -> int:
    """Do what the command line says; its exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m kalends_operator.crds FOLDER\n")
        return 2
    manifests.write(Path(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
