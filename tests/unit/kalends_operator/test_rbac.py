"""The operator's rights: least, and the same as YAML."""

import yaml

from kalends_operator import rbac


def test_what_is_printed_is_the_table():
    """What is printed is the table."""
    printed = yaml.safe_load(rbac.yaml({"watched": rbac.rules("watched"), "own": rbac.rules("own")}))

    assert printed == {"watched": rbac.rules("watched"), "own": rbac.rules("own")}


def test_secrets_are_never_listed_and_nothing_is_a_wildcard():
    """Secrets are never listed and nothing is a wildcard."""
    said = [(rule, verb, resource) for rule in rbac.RULES for verb in rule.verbs for resource in rule.resources]

    assert not [one for one in said if "*" in (one[1], one[2])]
    assert {verb for _, verb, resource in said if resource == "secrets"} == {"get", "create", "patch", "delete"}


def test_no_right_reaches_pods_roles_or_crds():
    """No right reaches pods roles or crds."""
    groups = {rule.group for rule in rbac.RULES}
    core = {resource for rule in rbac.RULES if rule.group == "" for resource in rule.resources}

    assert groups == {"", "memory.kalends.dev", "coordination.k8s.io"}
    assert core == {"secrets", "events"}
