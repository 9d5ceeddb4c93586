"""Stand-ins for the NVIDIA libraries that torch's published build is linked to, for a machine without a GPU.

Belongs here: finding out which libraries and symbols are missing, and one small C file for each library. Does not belong here: anything
that would be called: a stand-in prints its name and aborts. A newcomer would get wrong: the loader wants every symbol with its version,
and torch's static initialisers do call the CUDA runtime, so that one library has to be the real one.
"""

import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

_GPU_LIBRARY = re.compile(r"lib(?:cu|nv|nccl)\w*\.so")
_NEEDED = re.compile(r"\(NEEDED\).*\[(.+?)\]")
_OPENED_BY_NAME = "libcaffe2_nvrtc.so"
"""Torch opens it itself, and only where there is a GPU."""

_STEMS = {"libnccl.so": "nccl", "libcusparseLt.so": "cusparseLt", "libcufile.so": "cuFile", "libcurand.so": "curand"}
"""How the symbols begin that these libraries export without a version."""

_VERSION_OF = {"NVSHMEM": "libnvshmem_host.so.3"}
"""Versions that are not named after their library."""

Symbols = Mapping[str, set[str]]
"""Names by version; the empty version holds those without one."""


def write_standins(site_packages: Path) -> list[str]:
    """Write what torch in *site_packages* needs and has not; the names of the libraries.

    Raises:
        CalledProcessError: gcc or readelf failed.
    """
    libraries = [path for path in sorted((site_packages / "torch" / "lib").glob("*.so*")) if path.name != _OPENED_BY_NAME]
    present = {path.name for path in libraries} | {path.name for path in site_packages.glob("nvidia/**/lib/*.so*")}
    needed = {name for path in libraries for name in _NEEDED.findall(_readelf("-dW", path)) if _GPU_LIBRARY.match(name)}
    missing = sorted(needed - present)
    folder = site_packages / "nvidia" / "cu13" / "lib"
    folder.mkdir(parents=True, exist_ok=True)
    for name, symbols in _by_library(missing, libraries).items():
        _compile(folder / name, symbols)
    return missing


def _by_library(missing: Iterable[str], libraries: Iterable[Path]) -> dict[str, dict[str, set[str]]]:
    found: dict[str, dict[str, set[str]]] = {name: {} for name in missing}
    wanted, given = _wanted_and_given(libraries)
    for symbol, version in wanted:
        owner = _owner(symbol, version, found) if symbol not in given else None
        if owner is not None:
            found[owner].setdefault(version, set()).add(symbol)
    return found


def _wanted_and_given(libraries: Iterable[Path]) -> tuple[set[tuple[str, str]], set[str]]:
    """The (symbol, version) pairs that the libraries ask for, and the symbols that one of them defines."""
    wanted: set[tuple[str, str]] = set()
    given: set[str] = set()
    for path in libraries:
        for line in _readelf("--dyn-syms", path, "-W").splitlines():
            fields = line.split()
            if len(fields) < 8 or not fields[0].endswith(":"):
                continue
            binding, place, (symbol, _, version) = fields[4], fields[6], fields[7].partition("@")
            if place != "UND":
                given.add(symbol)
            elif binding == "GLOBAL":
                wanted.add((symbol, version))
    return wanted, given


def _owner(symbol: str, version: str, missing: Mapping[str, object]) -> str | None:
    """The missing library that *symbol* is from: NVIDIA names a version after its library."""
    if version:
        name = _VERSION_OF.get(version, version)
        return name if name in missing else None
    stems = (stem for stem, start in _STEMS.items() if symbol.startswith(start))
    stem = next(stems, None)
    return next((name for name in missing if stem is not None and name.startswith(stem)), None)


def _compile(library: Path, symbols: Symbols) -> None:
    source, versions = library.with_suffix(".standin.c"), library.with_suffix(".standin.map")
    names = sorted({name for group in symbols.values() for name in group})
    functions = [f'int {name}(void) {{ fputs("stand-in {library.name}: {name} was called\\n", stderr); abort(); }}' for name in names]
    source.write_text("\n".join(["#include <stdio.h>", "#include <stdlib.h>", *functions, ""]), encoding="ascii")
    command = ["gcc", "-shared", "-fPIC", "-O1", "-s", "-Wno-builtin-declaration-mismatch", f"-Wl,-soname,{library.name}"]
    versioned = [f"{version} {{ global: {'; '.join(sorted(group))}; }};" for version, group in symbols.items() if version]
    if versioned:
        versions.write_text("\n".join([*versioned, ""]), encoding="ascii")
        command.append(f"-Wl,--version-script={versions}")
    subprocess.run([*command, "-o", str(library), str(source)], check=True, capture_output=True, text=True)
    source.unlink()
    versions.unlink(missing_ok=True)


def _readelf(option: str, path: Path, *more: str) -> str:
    return subprocess.run(["readelf", option, *more, str(path)], check=True, capture_output=True, text=True).stdout
