"""The two clients: the same nouns and verbs, each driven through httpx."""

import inspect

import httpx
import pytest
from tests.support.answers import PreparedServer, problem, receipt

from kalends import client
from kalends.client import AsyncKalends, AsyncMemory, Kalends, Memory, NewEvent, RetryPolicy

URL = "http://127.0.0.1:7410"


def blocking(server: PreparedServer, **options) -> Kalends:
    """A blocking client of *server*."""
    return Kalends(URL, token="kal_t", through=server.transport, **options)


def asynchronous(server: PreparedServer, **options) -> AsyncKalends:
    """An asynchronous client of *server*."""
    return AsyncKalends(URL, token="kal_t", through=server.transport, **options)


@pytest.mark.parametrize(("one", "other"), [(Kalends, AsyncKalends), (Memory, AsyncMemory)])
def test_both_clients_have_the_same_nouns_and_verbs(one, other):
    """What one can do and how it is called, the other can and is too."""

    def surface(kind: type) -> dict[str, list[str]]:
        names = [name for name in vars(kind) if not name.startswith("_")]
        return {name: list(inspect.signature(getattr(kind, name)).parameters) for name in names}

    assert surface(one) == surface(other)


def test_everything_public_is_listed_and_sorted():
    """Classes first, as ruff sorts them; nothing listed is missing."""
    assert client.__all__ == sorted(client.__all__, key=lambda name: (not name[0].isupper(), name))
    assert all(hasattr(client, name) for name in client.__all__)


def test_a_request_carries_the_token_and_stays_below_the_version():
    """The base URL is joined with ``/v1`` once."""
    server = PreparedServer(httpx.Response(200, json={"name": "m"}))

    blocking(server).memory("m").info()

    assert server.requests[0].headers["authorization"] == "Bearer kal_t"
    assert server.requests[0].url == f"{URL}/v1/memories/m"


def test_an_odd_id_arrives_as_it_was_given():
    """Httpx must not undo the quoting of a slash."""
    server = PreparedServer(pages()[0])

    with pytest.raises(client.Unreadable):
        blocking(server).memory("m").session("a/b c%")

    assert server.requests[0].url.raw_path == b"/v1/memories/m/sessions/a%2Fb%20c%25"


def test_the_blocking_client_pauses_with_the_sleeper_it_was_given():
    """The pause is the server's, and the second try is the first one again."""
    pauses: list[float] = []
    server = PreparedServer(problem(503, "unavailable", retry_after_s=4), receipt("new"))

    found = blocking(server, sleep=pauses.append).memory("m").append([NewEvent(text="x", session_id="s")])

    assert pauses == [4]
    assert [result.status for result in found.results] == ["new"]
    assert server.bodies()[0] == server.bodies()[1]


async def test_the_asynchronous_client_pauses_with_the_sleeper_it_was_given():
    """Also after a connection that was refused."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    server = PreparedServer(httpx.ConnectError("refused"), problem(429, "throttled", retry_after_s=2), receipt("new"))
    async with asynchronous(server, sleep=sleep) as kalends:
        found = await kalends.memory("m").append([NewEvent(text="x", session_id="s")])

    assert pauses[1] == 2
    assert [result.status for result in found.results] == ["new"]
    assert server.bodies()[0] == server.bodies()[2]


def pages() -> tuple[httpx.Response, ...]:
    """A list of sessions in two pages."""
    times = {"first_at": "2026-01-01T00:00:00Z", "last_at": "2026-01-01T00:00:00Z"}
    return (
        httpx.Response(200, json={"items": [{"session_id": "a", "events": 1, **times}], "next_cursor": "c1"}),
        httpx.Response(200, json={"items": [{"session_id": "b", "events": 1, **times}], "next_cursor": None}),
    )


def test_a_list_goes_on_until_its_end():
    """Each page is asked for with the cursor of the one before."""
    server = PreparedServer(*pages())

    assert [session.session_id for session in blocking(server).memory("m").sessions()] == ["a", "b"]
    assert server.requests[1].url.params["cursor"] == "c1"


async def test_an_asynchronous_list_goes_on_until_its_end():
    """The same with ``async for``."""
    server = PreparedServer(*pages())

    async with asynchronous(server) as kalends:
        assert [session.session_id async for session in kalends.memory("m").sessions()] == ["a", "b"]


def test_a_list_is_only_fetched_as_far_as_it_is_read():
    """Whoever needs one entry does not wait for a hundred pages."""
    server = PreparedServer(*pages())

    next(blocking(server).memory("m").sessions())

    assert len(server.requests) == 1


def test_a_problem_carries_what_the_server_said():
    """Status, request id and pointers are there to be reported."""
    server = PreparedServer(problem(422, "invalid", detail="too long", errors=[{"pointer": "/query", "detail": "too long", "code": "max"}]))

    with pytest.raises(client.Invalid) as caught:
        blocking(server, retry=RetryPolicy(total_s=0)).memory("m").search("x")

    assert (caught.value.status, caught.value.request_id) == (422, "r1")
    assert caught.value.faults[0].pointer == "/query"


async def test_a_broken_connection_is_ours_in_the_asynchronous_client_too():
    """Users never see the HTTP library's exceptions."""
    async with asynchronous(PreparedServer(httpx.ConnectError("refused")), retry=RetryPolicy(total_s=0)) as kalends:
        with pytest.raises(client.Unreachable):
            await kalends.status()


def test_an_answer_without_a_body_is_enough_where_none_is_needed():
    """204 has nothing to decode."""
    blocking(PreparedServer(httpx.Response(204))).revoke_token("t1")


def test_a_new_token_does_not_show_its_secret():
    """Representations end up in logs."""
    body = {
        "id": "t1",
        "token": "kal_secret",
        "memories": None,
        "rights": ["search"],
        "label": "",
        "created_at": None,
        "expires_at": None,
    }

    made = blocking(PreparedServer(httpx.Response(201, json=body))).create_token(memories=None, rights=["search"])

    assert made.secret == "kal_secret"
    assert "kal_secret" not in f"{made!r} {made}"
