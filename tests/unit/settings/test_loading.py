"""Settings come from four layers, and what nobody knows is refused with its place."""

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain.errors import Misconfigured
from kalends.settings import IssuerSettings, Settings, WorkloadSettings, load, table

KEYS = [key for key, *_ in table()]

TEXTS = {"telemetry.levels": "kalends.index=debug"}
"""A legal value of each text whose pattern does not show one."""

LISTS = {
    "oidc.issuers": (IssuerSettings(issuer="https://issuer.example", audience="kalends", rights_map={"staff": "reader"}),),
    "kubernetes.workloads": (WorkloadSettings(subject="system:serviceaccount:a:b", tenant="acme", memories=("*",), rights=("reader",)),),
}
"""A legal value of each setting that is a list."""


def _value(settings, key):
    for name in key.split("."):
        settings = getattr(settings, name)
    return settings


def _kind(key):
    group, _, name = key.rpartition(".")
    owner = Settings if not group else type(getattr(Settings(), group))
    kind = next(field.type for field in msgspec.inspect.type_info(owner).fields if field.name == name)
    return kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind


def _other(key):
    """A legal value that is not the default, found from the field's type and bounds."""
    kind, value = _kind(key), _value(Settings(), key)
    if isinstance(value, tuple):
        return LISTS[key]
    if isinstance(value, str):
        words = re.findall(r"\w+", kind.pattern) if kind.pattern else ["elsewhere"]
        return TEXTS.get(key) or next(word for word in words if word != value)
    if isinstance(value, bool):
        return not value
    nearby = [value + 1, value - 1] if isinstance(value, int) else [value / 2, value + 0.25]
    return next(other for other in nearby if other != value and _legal(kind, other))


def _legal(kind, value):
    low = kind.ge is None or value >= kind.ge
    high = kind.le is None or value <= kind.le
    return low and high and (kind.gt is None or value > kind.gt) and (kind.lt is None or value < kind.lt)


def _nested(key, value):
    group, _, field = key.partition(".")
    plain = msgspec.to_builtins(value)
    return {group: {field: plain}} if field else {group: plain}


def _toml(value):
    """*value* as TOML writes it on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(member)}" for name, member in value.items()) + "}"
    return "[" + ", ".join(map(_toml, value)) + "]" if isinstance(value, (list, tuple)) else json.dumps(value)


def _text(value):
    """*value* as a variable holds it: lists as JSON."""
    return msgspec.json.encode(value).decode() if isinstance(value, tuple) else str(value)


def _file(folder, key, value):
    group, _, field = key.partition(".")
    shown = _toml(msgspec.to_builtins(value))
    text = f"[{group}]\n{field} = {shown}\n" if field else f"{group} = {shown}\n"
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _variable(key):
    return "KALENDS_" + key.replace(".", "__").upper()


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_can_be_set_in_the_file(key, tmp_path):
    """A table for each group."""
    assert _value(load(file=_file(tmp_path, key, _other(key)), environment={}), key) == _other(key)


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_can_be_set_in_the_environment_over_the_file(key, tmp_path):
    """Two underscores between group and field."""
    file = _file(tmp_path, key, _value(Settings(), key))

    assert _value(load(file=file, environment={_variable(key): _text(_other(key))}), key) == _other(key)


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_can_be_set_by_a_flag_over_the_environment(key):
    """What was typed last wins."""
    environment = {_variable(key): _text(_value(Settings(), key))}

    assert _value(load(file=None, environment=environment, flags=_nested(key, _other(key))), key) == _other(key)


@pytest.mark.parametrize("key", KEYS)
def test_setting_one_value_changes_no_other(key):
    """Each key is one setting."""
    settings = load(file=None, environment={_variable(key): _text(_other(key))})

    assert [other for other in KEYS if _value(settings, other) != _value(Settings(), other)] == [key]


def test_without_any_layer_the_defaults_hold(tmp_path):
    """A laptop needs no file."""
    assert load(file=None, environment={}) == Settings()
    assert load(file=tmp_path / "missing.toml", environment={}) == Settings()


def test_layers_are_merged_field_by_field(tmp_path):
    """One field from each layer, all in one group."""
    file = _file(tmp_path, "http.host", "::1")
    settings = load(file=file, environment={"KALENDS_HTTP__PORT": "1"}, flags={"http": {"ops_port": 2}})

    assert (settings.http.host, settings.http.port, settings.http.ops_port) == ("::1", 1, 2)


@pytest.mark.parametrize("key", ["colour", "http.colour", "http.port.colour"])
def test_an_unknown_key_in_the_file_fails_loudly(key, tmp_path):
    """A typing error must not silently leave the default."""
    path = tmp_path / "config.toml"
    path.write_text(f"{key} = 1\n", encoding="utf-8")

    with pytest.raises(Misconfigured, match=r"config\.toml: .*(colour|port)"):
        load(file=path, environment={})


@pytest.mark.parametrize("name", ["KALENDS_COLOUR", "KALENDS_HTTP__COLOUR", "KALENDS_HTTP_PORT", "KALENDS_"])
def test_an_unknown_variable_of_ours_fails_loudly(name):
    """One underscore too few is such a typing error."""
    with pytest.raises(Misconfigured, match="environment: "):
        load(file=None, environment={name: "1"})


def test_an_unknown_flag_fails_loudly():
    """Flags are checked like every layer."""
    with pytest.raises(Misconfigured, match=r"flags: .*colour"):
        load(file=None, environment={}, flags={"http": {"colour": 1}})


def test_variables_of_others_and_of_the_client_are_left_alone():
    """The client's variables share the prefix."""
    environment = {"PATH": "x", "KALENDS_URL": "x", "KALENDS_TOKEN_FILE": "x", "KALENDS_MEMORY": "x", "KALENDS_TEST_RUN": "x"}

    assert load(file=None, environment=environment) == Settings()


@pytest.mark.parametrize("order", [("KALENDS_HTTP", "KALENDS_HTTP__PORT"), ("KALENDS_HTTP__PORT", "KALENDS_HTTP")], ids=["first", "last"])
def test_a_group_is_no_setting(order):
    """Whichever of the two variables is read first."""
    with pytest.raises(Misconfigured, match="environment: "):
        load(file=None, environment=dict.fromkeys(order, "1"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KALENDS_HTTP__PORT", "65536"),
        ("KALENDS_HTTP__PORT", "-1"),
        ("KALENDS_HTTP__PORT", "http"),
        ("KALENDS_HTTP__HOST", ""),
        ("KALENDS_LOG__PARTITIONS", "0"),
        ("KALENDS_LOG__BATCH_MAX", "1001"),
        ("KALENDS_SEARCH__LEXICAL_WEIGHT", "1.5"),
        ("KALENDS_SEARCH__SMOOTHING", "nan"),
        ("KALENDS_HTTP__DEADLINE_S", "inf"),
        ("KALENDS_LOG__DEADLINE_S", "0"),
        ("KALENDS_MODEL__PRECISION", "int4"),
        ("KALENDS_TELEMETRY__LEVEL", "chatty"),
    ],
)
def test_a_value_out_of_bounds_names_its_layer_and_its_key(name, value):
    """A deadline without end counts as out of bounds too."""
    with pytest.raises(Misconfigured, match=f"environment: .*{name.rpartition('__')[2].lower()}"):
        load(file=None, environment={name: value})


@pytest.mark.parametrize("content", [b"[http\n", b"port =\n", b"\xff\xfe", b"http = 1\n"], ids=["bracket", "value", "bytes", "shape"])
def test_a_file_that_cannot_be_read_is_named(content, tmp_path):
    """A traceback of the parser helps nobody."""
    path = tmp_path / "config.toml"
    path.write_bytes(content)

    with pytest.raises(Misconfigured, match=r"config\.toml: "):
        load(file=path, environment={})


def test_a_folder_in_place_of_the_file_is_named(tmp_path):
    """As is every other reason for which the file cannot be opened."""
    (tmp_path / "config").mkdir()

    with pytest.raises(Misconfigured, match="config: "):
        load(file=tmp_path / "config", environment={})


@pytest.mark.parametrize(
    "url", ["nats://user:secret@a:4222", "nats://a:4222,tls://user:secret@b:4222", "user:secret@a:4222", "nats://secret@a:4222"]
)
def test_a_url_of_the_log_with_credentials_is_refused_and_not_repeated(url):
    """It is told to whoever reads instance.json; a password stands in a file, which the error names the setting of."""
    with pytest.raises(Misconfigured, match=r"environment: log\.url .*log\.password_file") as caught:
        load(file=None, environment={"KALENDS_LOG__URL": url})

    assert "secret" not in str(caught.value)


@given(st.dictionaries(st.text(max_size=12).map("KALENDS_".__add__), st.text(max_size=12), max_size=3))
def test_any_environment_gives_settings_or_a_clear_error(environment):
    """Nothing that a shell can hold ends in a traceback."""
    try:
        settings = load(file=None, environment=environment)
    except Misconfigured:
        return

    assert msgspec.convert(msgspec.to_builtins(settings), Settings) == settings
