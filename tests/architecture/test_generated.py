"""Generated files are what their source makes today."""

import sys
from pathlib import Path

import pytest
from grpc_tools import protoc

from kalends.app import rights
from kalends.settings import reference
from tests.architecture import sources


def test_the_generated_protobuf_code_is_fresh(tmp_path):
    """After a change of proto/, run ``make proto``."""
    proto = sources.ROOT / "proto"
    names = [path.relative_to(proto).as_posix() for path in sorted(proto.rglob("*.proto"))]
    status = protoc.main(["protoc", f"-I{proto}", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", *names])

    assert status == 0
    assert _contents(sources.GENERATED) == _contents(tmp_path)


def test_the_settings_reference_is_fresh():
    """After a change of settings/tree, run ``make docs``."""
    page = sources.ROOT / "docs" / "reference" / "settings.md"

    assert page.read_text(encoding="utf-8") == reference.render()


def test_the_table_of_rights_is_fresh():
    """After a change of the operation table, run ``make docs``."""
    page = sources.ROOT / "docs" / "reference" / "rights.md"

    assert page.read_text(encoding="utf-8") == rights.render()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no executable bit")
def test_the_scripts_can_be_run():
    """A checkout that lost the bit fails in CI only."""
    assert [path.name for path in (sources.ROOT / ".ci").iterdir() if not path.stat().st_mode & 0o111] == []


def _contents(folder: Path) -> dict[str, str]:
    generated = (path for suffix in ("*_pb2.py", "*_pb2.pyi") for path in folder.rglob(suffix))
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in generated}
