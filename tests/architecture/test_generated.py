"""Generated files are what their source makes today."""

import importlib.util
import sys
from pathlib import Path

import pytest
from grpc_tools import protoc

from kalends.app import rights
from kalends.app.monitoring import rendering
from kalends.settings import reference
from kalends_operator import reference as operator_page
from kalends_operator.crds import manifests
from tests.architecture import sources
from tests.support import compatibility


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


def test_the_page_of_the_operator_is_fresh():
    """After a change of the operator's settings or rights, run ``make docs``."""
    page = sources.ROOT / "docs" / "reference" / "operator.md"

    assert page.read_text(encoding="utf-8") == operator_page.render()


def test_the_dashboards_and_alerts_are_fresh():
    """After a change of app/monitoring or of a metric's name, run ``make dashboards`` and ``make chart``."""
    made = rendering.files()
    folders = [sources.ROOT / folder / "dashboards" for folder in ("charts/kalends/files", "examples/monitoring")]
    there = {path.relative_to(sources.ROOT).as_posix() for folder in folders for path in folder.iterdir()}

    assert [place for place, text in made.items() if (sources.ROOT / place).read_text(encoding="utf-8") != text] == []
    assert there <= made.keys()


def test_the_page_of_what_reads_what_is_fresh():
    """After a change of a format or of the golden files, run ``make docs``."""
    page = sources.ROOT / "docs" / "reference" / "compatibility.md"
    assert page.read_text(encoding="utf-8") == compatibility.render()


def test_the_crds_are_fresh():
    """After a change of the operator's model, run ``make crds``."""
    folder = sources.ROOT / "charts" / "kalends" / "crds"

    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == manifests.rendered()


def test_the_generated_parts_of_the_chart_are_fresh():
    """After a change of the settings, of values.yaml, of the operation table or of the operator's rights, run ``make chart``."""
    stale = [path.name for path, text in _chart_tool().generated().items() if path.read_text(encoding="utf-8") != text]

    assert stale == []


def test_the_manifests_of_kustomize_are_renders_of_the_chart():
    """After a change of the chart, run ``make chart``."""
    renders = _chart_tool().base()
    stale = [name for name, text in renders.items() if (sources.ROOT / "k8s" / name).read_text(encoding="utf-8") != text]
    crds = {f"base/crds/{path.name}" for path in (sources.ROOT / "k8s" / "base" / "crds").iterdir()}

    assert stale == []
    assert crds <= renders.keys()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no executable bit")
def test_the_scripts_can_be_run():
    """A checkout that lost the bit fails in CI only."""
    scripts = [path for path in (sources.ROOT / ".ci").iterdir() if path.is_file()]
    scripts += [sources.ROOT / "k8s" / "make-secrets", sources.ROOT / "charts" / "mirror-images"]

    assert [path.name for path in scripts if not path.stat().st_mode & 0o111] == []


def _chart_tool():
    """The module that ``make chart`` runs; its folder is no package."""
    spec = importlib.util.spec_from_file_location("chart_tool", sources.ROOT / ".ci" / "chart.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _contents(folder: Path) -> dict[str, str]:
    generated = (path for suffix in ("*_pb2.py", "*_pb2.pyi") for path in folder.rglob(suffix))
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in generated}
