"""A stranger can predict which file holds a thing."""

import ast

from tests.architecture import sources

REQUIRED = {"service", "usecases", "routes", "schemas"}
VAGUE = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}
MIRRORED = ("domain", "kit", "settings", "wire")


def test_every_service_has_the_same_files():
    """``consumers`` may be missing where a service consumes nothing; everything beyond these names is the service's own."""
    missing = {service: sorted(REQUIRED - sources.names(sources.KALENDS / service)) for service in sources.SERVICES}

    assert {service: names for service, names in missing.items() if names} == {}


def test_every_port_has_an_adapter_of_its_name():
    """One search for a port's name shows the port, its adapters and its suite. A summarizer is over ports itself, and so a service's."""
    adapters = {path.stem for path in sources.modules(sources.KALENDS / "adapters")}

    assert sorted(sources.names(sources.KALENDS / "ports") - adapters) == ["summarizer"]


def test_every_port_has_a_contract_suite_of_its_name():
    """What a port promises is tested once, over every adapter."""
    suites = {name.removeprefix("test_") for name in sources.names(sources.TESTS / "contracts") if name.startswith("test_")}

    assert sorted(sources.names(sources.KALENDS / "ports") ^ suites) == []


def test_unit_tests_mirror_the_source():
    """A module of values and decisions is tested by the file of the same name."""
    missing = []
    for package in MIRRORED:
        for path in sources.modules(sources.KALENDS / package):
            relative = path.relative_to(sources.KALENDS)
            twin = sources.TESTS / "unit" / relative.with_name(f"test_{relative.name}")
            if path.stem != "__init__" and not twin.is_file():
                missing.append(sources.place(twin))

    assert missing == []


def test_no_module_has_a_vague_name():
    """A module called utils has room for everything, so nothing in it can be found."""
    assert [sources.place(path) for path in sources.modules() if path.stem in VAGUE or path.parent.name in VAGUE] == []


def test_no_package_hides_the_standard_library():
    """A top-level package ``operator`` would break ``import collections``; the folders above the packages stay plain folders."""
    assert [folder for folder in ("services", "operator") if (sources.ROOT / folder / "__init__.py").exists()] == []


def test_every_module_says_what_belongs_in_it():
    """Empty modules need no words; every other opens with a docstring."""
    silent = [
        sources.place(path)
        for path in sources.modules()
        if sources.tree(path).body and ast.get_docstring(sources.tree(path)) is None and path.name != "conftest.py"
    ]

    assert silent == []
