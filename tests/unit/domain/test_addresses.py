"""What may be spoken to, decided without asking anybody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain.addresses import Address, addresses, allow_list, is_loopback
from kalends.domain.errors import Misconfigured


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "::ffff:127.0.0.1"])
def test_loopback_is_always_allowed(host):
    """By number, and by the one name that every resolver gives to it."""
    assert is_loopback(host)
    assert allow_list([]).permits(Address(host=host, port=1))


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "example.com", "localhost.example.com", "127.0.0.1.nip.io", "0.0.0" + ".0", "::", "::ffff:10.0.0.1", "2130706433"]
)
def test_what_only_looks_like_loopback_is_not(host):
    """A name that somebody else's server answers for, or the address of every interface."""
    assert not is_loopback(host)
    assert not allow_list([]).permits(Address(host=host))


@pytest.mark.parametrize(
    ("entry", "text", "permitted"),
    [
        ("qdrant", "http://qdrant:6334", True),
        ("qdrant:6334", "http://qdrant:6334", True),
        ("qdrant:6334", "http://qdrant:6333", False),
        ("qdrant:6334", "http://qdrant", False),
        ("Qdrant", "http://QDRANT:1", True),
        ("qdrant", "http://qdrant.example.com", False),
        ("10.0.0.0/8", "nats://10.1.2.3:4222", True),
        ("10.0.0.0/8", "nats://11.1.2.3:4222", False),
        ("10.0.0.0/8", "http://ten:1", False),
        ("10.1.2.3", "nats://user:pass@10.1.2.3:4222", True),
        ("fd00::/8", "http://[fd00::1]:80", True),
        ("fd00::/8", "http://10.0.0.1", False),
        ("10.0.0.0/8", "http://[::ffff:10.0.0.1]", True),
        ("[fd00::1]:80", "http://[fd00::1]:80", True),
        ("[fd00::1]:80", "http://[fd00::1]:81", False),
    ],
)
def test_an_entry_allows_what_it_names(entry, text, permitted):
    """A name with any port or one, an address, a network; and nothing that is only similar."""
    [address] = addresses(text, setting="x.url")

    assert allow_list(["", " ", entry]).permits(address) is permitted


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "10.0.0.0/99", "http://", ":80", "host:port", "http://host:99999"])
def test_an_entry_that_cannot_be_read_is_refused(entry):
    """It would allow less, or more, than was meant."""
    with pytest.raises(Misconfigured, match=r"network\.allowed"):
        allow_list([entry])


def test_several_addresses_stand_in_one_setting():
    """With commas between, with or without a scheme; a user's password is no part of them."""
    found = addresses("nats://u:p@a:4222, b:4223,https://c.example./x", setting="log.url")

    assert found == [Address(host="a", port=4222), Address(host="b", port=4223), Address(host="c.example")]


@pytest.mark.parametrize("text", ["http://", "//:80", "http://[::1", "http://a:b"])
def test_an_address_that_cannot_be_read_names_its_setting(text):
    """And not what stands in it, which may be a password."""
    with pytest.raises(Misconfigured, match=r"^x\.url: ") as caught:
        addresses(text, setting="x.url")
    assert text not in str(caught.value)


@given(number=st.integers(0, (1 << 32) - 1))
def test_a_number_is_allowed_by_its_network_only(number: int):
    """Whatever the number."""
    host = ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))

    assert allow_list(["192.168.0.0/16"]).permits(Address(host=host)) == (number >> 16 == 192 << 8 | 168 or number >> 24 == 127)
