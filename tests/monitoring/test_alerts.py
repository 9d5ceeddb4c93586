"""Every alert fires on its history and is quiet on its twin, as Prometheus' own promtool judges."""

import subprocess
from pathlib import Path

import pytest
import yaml
from tests.monitoring.fixtures import FIXTURES, Series, notation
from tests.support.prometheus import recipe

from kalends.app.monitoring import rendering
from kalends.app.monitoring.alerts import ALERTS

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def rules(tmp_path_factory) -> Path:
    """The rules that we ship, in a file."""
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(rendering.rules(), encoding="utf-8")
    return path


def verdict(rules: Path, series: Series, *, at: str, asked: str, firing: int, folder: Path) -> str:
    """What promtool says of this history if *firing* alerts of the name *asked* must fire after *at*; empty: it agrees."""
    samples = [{"labels": "{}", "value": firing}] if firing else []
    question = {"expr": f'count(ALERTS{{alertstate="firing",alertname=~"{asked}"}})', "eval_time": at, "exp_samples": samples}
    case = {"interval": "1m", "input_series": notation(series), "promql_expr_test": [question]}
    file = folder / "case.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [case]}), encoding="utf-8")
    done = subprocess.run([recipe.promtool(), "test", "rules", str(file)], capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS, ids=lambda one: one.name)
def test_an_alert_fires_on_its_history(alert, rules, tmp_path):
    """Once, for what is wrong."""
    twins = FIXTURES[alert.name]

    assert verdict(rules, twins.fires, at=twins.at, asked=alert.name, firing=1, folder=tmp_path) == ""


@pytest.mark.parametrize("alert", ALERTS, ids=lambda one: one.name)
def test_an_alert_is_quiet_on_the_twin_of_its_history(alert, rules, tmp_path):
    """A little below the limit, or a little too short."""
    twins = FIXTURES[alert.name]

    assert verdict(rules, twins.quiet, at=twins.at, asked=alert.name, firing=0, folder=tmp_path) == ""


def test_nothing_else_fires_for_one_trouble(rules, tmp_path):
    """A person who is woken for damaged keys is not told of ten other things."""
    series = {**FIXTURES["KalendsKeysWrong"].fires, 'kalends_build_info{version="1"}': "1x60"}

    assert verdict(rules, series, at="30m", asked="Kalends.*", firing=1, folder=tmp_path) == ""


def test_promtool_refuses_a_wrong_expectation(rules, tmp_path):
    """So promtool does look: the same history with the wrong expectation is an error."""
    twins = FIXTURES["KalendsKeysWrong"]

    assert verdict(rules, twins.fires, at=twins.at, asked="KalendsKeysWrong", firing=0, folder=tmp_path) != ""
    assert verdict(rules, twins.quiet, at=twins.at, asked="KalendsKeysWrong", firing=1, folder=tmp_path) != ""


def test_promtool_finds_no_fault_with_the_rules(rules):
    """Templates of summaries included."""
    done = subprocess.run([recipe.promtool(), "check", "rules", str(rules)], capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout
