"""The scripts around the chart: mirroring images and making Secrets."""

import base64
import os
import subprocess

import pytest
import yaml
from tests.support import charts

from kalends.adapters.embedded.kek import FileWrapper


@pytest.fixture
def skopeo(tmp_path):
    """A skopeo that writes down what it was asked."""
    log = tmp_path / "asked"
    program = tmp_path / "bin" / "skopeo"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {log}\n', encoding="utf-8")
    program.chmod(0o755)
    return log


def _mirror(skopeo, *arguments, code=0):
    path = f"{skopeo.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [charts.ROOT / "charts" / "mirror-images", *arguments], check=False, capture_output=True, text=True, timeout=60, env={"PATH": path}
    )
    assert done.returncode == code, done.stderr
    return [line.split() for line in skopeo.read_text(encoding="utf-8").splitlines()] if skopeo.exists() else []


def test_every_image_is_copied_to_where_the_chart_looks_for_it(skopeo):
    """With global.imageRegistry the chart names the same repositories there."""
    copied = {call[-1].removeprefix("docker://") for call in _mirror(skopeo, "mirror.example:5000")}
    mirrored = charts.objects("generated", sets={"global.imageRegistry": '"mirror.example:5000"'})
    wanted = {container["image"].partition("@")[0] for _, pod in charts.pods(mirrored) for container in charts.containers(pod)}

    assert {name for name in wanted if not any(one == name or one.startswith(f"{name}:") for one in copied)} == set()


def test_images_go_through_files_where_there_is_no_internet(skopeo, tmp_path):
    """What was saved under a name is loaded from it."""
    saved = [call[-1] for call in _mirror(skopeo, "--save", str(tmp_path / "images"))]
    skopeo.unlink()
    loaded = [call[-2] for call in _mirror(skopeo, "--load", str(tmp_path / "images"), "mirror.example")]

    assert saved == loaded
    assert len(set(saved)) == len((charts.ROOT / "charts" / "images.txt").read_text(encoding="utf-8").split())


def test_without_an_argument_the_script_says_what_it_wants(skopeo):
    """And copies nothing."""
    assert _mirror(skopeo, code=2) == []


@pytest.fixture(scope="module")
def secrets():
    """What the script prints, by name."""
    return charts.made_secrets()


def test_the_secrets_are_those_that_the_base_mounts(secrets):
    """With every key that is asked for."""
    base = (charts.ROOT / "k8s" / "base" / "kalends.yaml").read_text(encoding="utf-8")
    for _, pod in charts.pods([one for one in yaml.safe_load_all(base) if one]):
        for volume in pod["volumes"]:
            if "secret" in volume:
                made = secrets[volume["secret"]["secretName"]]
                keys = {**made.get("data", {}), **made.get("stringData", {})}
                assert {item["key"] for item in volume["secret"].get("items", [])} <= keys.keys()


def test_the_key_encryption_key_and_the_receipts_key_are_keys(secrets, tmp_path):
    """The folder that a mounted Secret is can be opened, and the token has the form of ours."""
    from kalends.domain.credentials import TOKEN_PREFIX

    (tmp_path / "1").write_bytes(base64.b64decode(secrets["kalends-kek"]["data"]["1"]))
    (tmp_path / "1").chmod(0o440)

    assert FileWrapper.open_folder(tmp_path).label("").startswith("key file")
    assert len(base64.b64decode(secrets["kalends-credentials"]["data"]["receipt-key"])) == 32
    token = secrets["kalends-credentials"]["stringData"]["token"]
    assert token.startswith(TOKEN_PREFIX)
    assert len(token) == len(TOKEN_PREFIX) + 43
