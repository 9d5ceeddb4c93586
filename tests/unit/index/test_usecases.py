"""When a generation that is filled while others write may begin to serve."""

from kalends.index.usecases import Chase


def test_a_generation_is_close_once_it_has_soon_what_the_log_held():
    """It need not be idle for that, which under load it never is."""
    chase = Chase()

    assert not chase.is_close({"E": 0}, heads={"E": 900}, now=0.0)
    assert not chase.is_close({"E": 500}, heads={"E": 920}, now=30.0)
    # all that the log held at the beginning, but that took long
    assert not chase.is_close({"E": 905}, heads={"E": 940}, now=60.0)
    assert not chase.is_close({"E": 930}, heads={"E": 945}, now=60.5)
    assert chase.is_close({"E": 941}, heads={"E": 950}, now=61.0)


def test_a_generation_that_falls_further_and_further_behind_is_never_close():
    """Each time it has caught up with what there was, that is longer ago."""
    chase = Chase()

    looks = [chase.is_close({"E": 2**number}, heads={"E": 2 ** (number + 1)}, now=2.0**number * 20) for number in range(20)]

    assert not any(looks)


def test_a_generation_that_always_stays_a_little_behind_is_close_in_the_end():
    """On a slow store it never comes nearer, and the rebuild must end; how far behind counts from when it first had what there was."""
    chase = Chase()

    looks = [chase.is_close({"E": number * 100}, heads={"E": number * 100 + 100}, now=number * 20.0) for number in range(20)]

    # the first look asks, the second has what there was at the first, and forty seconds later twenty are half of that
    assert looks.index(True) == 3


def test_every_stream_counts():
    """One that is behind is enough."""
    chase = Chase()
    chase.is_close({}, heads={"E": 5, "F": 5}, now=0.0)

    assert not chase.is_close({"E": 9}, heads={"E": 9, "F": 9}, now=0.1)
    assert chase.is_close({"E": 9, "F": 5}, heads={"E": 9, "F": 9}, now=0.2)
