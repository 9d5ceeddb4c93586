"""What the fault tests share: data folders that need no model built, and instances on them."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.instance import Instance

NewFolder = Callable[[Path], Path]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's graph: kept from an earlier run, or built once, because an instance builds it from the weights when it first starts."""
    kept = os.environ.get("KALENDS_TEST_MODELS")
    if kept and any(Path(kept).glob("*.onnx")):
        return Path(kept)
    with Instance(tmp_path_factory.mktemp("models") / "data") as instance:
        instance.start()
        assert instance.terminate() == 0
    return instance.data / "models"


@pytest.fixture
def prepared(models: Path) -> NewFolder:
    """Makes a folder a data folder that has the model's graph already."""

    def prepare(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        same_disk = models.stat().st_dev == folder.stat().st_dev
        shutil.copytree(models, folder / "models", copy_function=os.link if same_disk else shutil.copy2)
        return folder

    return prepare


@pytest.fixture
def uninterrupted(tmp_path: Path, prepared: NewFolder) -> Iterator[Instance]:
    """A second instance, not started, to which nothing happens."""
    with Instance(prepared(tmp_path / "uninterrupted")) as made:
        yield made


@pytest.fixture
def instance(tmp_path: Path, prepared: NewFolder) -> Iterator[Instance]:
    """An instance on an empty data folder, not started; every process of it has ended after the test."""
    with Instance(prepared(tmp_path / "data")) as made:
        yield made
    assert made.left_running() == []
