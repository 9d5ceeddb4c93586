"""Which server is asked next."""

from kalends.adapters.vllm.replicas import Replicas


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_equals_take_turns() -> None:
    """So that idle replicas share the work."""
    replicas = Replicas(["a", "b", "c"], out_s=5.0)

    assert [replicas.choose().root for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]


def test_the_one_with_the_fewest_calls_goes_first() -> None:
    """A slow one gathers calls and gets no more."""
    replicas = Replicas(["a", "b"], out_s=5.0)
    slow = replicas.choose()
    with replicas.asking(slow):
        assert [replicas.choose().root for _ in range(3)] == ["b", "b", "b"]
    assert "a" in {replicas.choose().root for _ in range(2)}


def test_one_that_failed_is_left_out_for_a_while() -> None:
    """And then asked again."""
    clock = Clock()
    replicas = Replicas(["a", "b"], out_s=5.0, now=clock)
    replicas.leave_out(replicas.choose())
    assert {replicas.choose().root for _ in range(4)} == {"b"}
    clock.now = 5.0
    assert {replicas.choose().root for _ in range(4)} == {"a", "b"}


def test_where_all_are_left_out_the_first_to_come_back_is_asked() -> None:
    """An error without asking helps nobody."""
    clock = Clock()
    replicas = Replicas(["a", "b"], out_s=5.0, now=clock)
    first = replicas.choose()
    replicas.leave_out(first)
    clock.now = 1.0
    replicas.leave_out(replicas.choose(but=first))

    assert replicas.choose() is first


def test_the_second_try_goes_to_another_if_there_is_one() -> None:
    """Else to the same."""
    two, one = Replicas(["a", "b"], out_s=5.0), Replicas(["a"], out_s=5.0)
    first, alone = two.choose(), one.choose()

    assert two.choose(but=first) is not first
    assert one.choose(but=alone) is alone


def test_one_that_is_left_out_is_no_other() -> None:
    """Until its time is over; and nobody is another than itself."""
    clock = Clock()
    replicas = Replicas(["a", "b"], out_s=5.0, now=clock)
    first = replicas.choose()
    second = replicas.choose(but=first)
    assert replicas.has_other_than(first)
    replicas.leave_out(second)
    assert not replicas.has_other_than(first)
    clock.now += 5.0
    assert replicas.has_other_than(first)
    alone = Replicas(["a"], out_s=5.0)
    assert not alone.has_other_than(alone.choose())
