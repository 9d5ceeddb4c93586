"""The settings of trust."""

import msgspec
import pytest

from kalends.settings.trust import KeysSettings, TlsSettings


@pytest.mark.parametrize("kind", ["", "hsm", "vault "])
def test_a_keeper_of_keys_is_one_of_three(kind: str) -> None:
    """A typing error is found when the settings are read, not when the first key is needed."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": kind}, KeysSettings)


@pytest.mark.parametrize("name", ["../sys", "a/b", "key?x=1", "k%2e"])
def test_a_name_of_a_key_cannot_lead_elsewhere_in_vault(name: str) -> None:
    """It becomes a part of a path."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"vault_key": name}, KeysSettings)


def test_what_was_set_before_there_were_groups_of_trust_still_works() -> None:
    """The key file and plain listeners on loopback are the defaults."""
    assert KeysSettings().kind == "file"
    assert not TlsSettings().certificate_file
    assert not TlsSettings().allow_plain
