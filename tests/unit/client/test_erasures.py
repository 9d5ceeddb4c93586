"""Requests to forget carry a key, the caller's or one of their own, so that asking twice forgets once."""

from kalends.client import erasures


def test_the_callers_key_is_sent_and_is_no_part_of_what_is_asked_for():
    """An erasure of everything under two keys would be two."""
    asked = erasures.forget("notes", {"session_id": "a", "idempotency_key": "k-1"})

    assert asked.headers["Idempotency-Key"] == "k-1"
    assert asked.body == b'{"session_id":"a"}'


def test_a_whole_memory_is_forgotten_under_the_callers_key():
    """So that it can be asked again after a lost answer, also when the memory is gone."""
    asked = erasures.forget_memory("notes", undo_s=0, idempotency_key="k-1")

    assert (asked.method, asked.path) == ("DELETE", "/memories/notes")
    assert asked.headers["Idempotency-Key"] == "k-1"


def test_without_one_each_request_has_a_key_of_its_own():
    """A retry of the same request repeats it; another request is another wish."""
    keys = {erasures.forget_memory("notes", undo_s=0).headers["Idempotency-Key"] for _ in range(2)}

    assert len(keys) == 2
