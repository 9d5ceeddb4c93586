"""Dashboards, alerts and runbooks agree with what is measured, with the commands and with the settings that there are."""

import re

import click
import msgspec
import pytest
import yaml
from tests.architecture import sources
from tests.monitoring.fixtures import FIXTURES

from kalends.app import cli
from kalends.app.monitoring import queries, rendering
from kalends.app.monitoring.alerts import ALERTS
from kalends.app.monitoring.dashboards import DASHBOARDS
from kalends.edge.metrics import new_metrics
from kalends.settings import Settings

RUNBOOKS = sources.ROOT / rendering.RUNBOOKS
HEADINGS = ["What it means", "What users feel", "How to look", "What to do", "How one knows that it is over"]
COMMAND = re.compile(r"(?:`|^)kalends ((?:[a-z-]+ ?)+)((?:\s*--[a-z-]+)*)", re.MULTILINE)
SETTING = re.compile(r"`([a-z]+)\.([a-z_]+)`")


def test_every_alert_has_twins():
    """And no history is of an alert that is gone."""
    assert {one.name for one in ALERTS} == FIXTURES.keys()


def test_every_alert_has_a_runbook_that_it_names():
    """With the same headings on each, so that nobody has to search at night; no page is of an alert that is gone."""
    shipped = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in yaml.safe_load(rendering.rules())["groups"][0]["rules"]}
    pages = {path.stem: path.read_text(encoding="utf-8") for path in RUNBOOKS.glob("*.md") if path.stem != "README"}

    assert shipped == {name: f"{rendering.RUNBOOKS}/{name}.md" for name in pages}
    for name, text in pages.items():
        assert text.startswith(f"# {name}\n"), name
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS, name
        assert f"({name}.md)" in (RUNBOOKS / "README.md").read_text(encoding="utf-8")


def test_runbooks_name_commands_and_settings_that_exist():
    """A command that is refused at night is worse than none."""
    named, wrong = 0, []
    for path in sorted(RUNBOOKS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        for words, options in COMMAND.findall(text):
            named += 1
            if not _is_command(words.split(), options.split()):
                wrong.append(f"{path.stem}: kalends {words}{options}")
        wrong += [f"{path.stem}: {group}.{field}" for group, field in SETTING.findall(text) if not _is_setting(group, field)]

    assert wrong == []
    assert named > 2 * len(ALERTS)


def test_every_series_is_drawn_or_alerted_on():
    """What nobody looks at need not be counted."""
    asked = [query for board in DASHBOARDS for panel in board.panels for query, _ in panel.lines] + [one.query for one in ALERTS]
    drawn = frozenset().union(*map(queries.series_of, asked))
    whole = {re.sub(r"_(bucket|count|sum)$", "", name) for name in new_metrics(version="").catalogue} - {
        "kalends_process_virtual_memory_bytes"
    }

    assert whole - {re.sub(r"_(bucket|count|sum)$", "", name) for name in drawn} == set()


def test_no_two_panels_or_alerts_have_one_name():
    """A name is how people speak of them."""
    names = [one.name for one in ALERTS] + [f"{board.uid} {panel.title}" for board in DASHBOARDS for panel in board.panels]

    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "query",
    [
        "kalends_request_total{@}",
        'kalends_requests_total{@,outcom="ok"}',
        "kalends_requests_total",
        "kalends_requests_total{}",
        "sum by (memory) (kalends_requests_total{@})",
    ],
)
def test_a_query_of_what_is_not_measured_is_refused(query):
    """A series that was renamed would be quiet for ever."""
    with pytest.raises(ValueError, match=r"there is no|has no|has a label"):
        queries.check(query)


def test_a_scope_is_in_every_selector():
    """And without one nothing is left of its place."""
    query = 'kalends_requests_total{@,outcome="ok"} / kalends_requests_total{@}'

    assert queries.scoped(query, 'a="b"') == 'kalends_requests_total{a="b",outcome="ok"} / kalends_requests_total{a="b"}'
    assert queries.scoped(query, "") == 'kalends_requests_total{outcome="ok"} / kalends_requests_total'


def _is_command(words, options):
    command = cli.cli
    for word in words:
        if not isinstance(command, click.Group):
            break  # an argument
        found = command.get_command(click.Context(command), word)
        if found is None:
            return False
        command = found
    known = {one for parameter in command.params for one in (*parameter.opts, *parameter.secondary_opts)}
    return not isinstance(command, click.Group) and set(options) <= known | {"--json", "--memory"}


def _is_setting(group, field):
    part = getattr(Settings(), group, None)
    return part is None or field in {one.name for one in msgspec.structs.fields(part)}
