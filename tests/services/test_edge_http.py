"""The HTTP edge over real sockets."""

import asyncio
import contextlib
import socket

import httpx
import pytest
import schemathesis
import structlog
from tests.support.edge import failing, hosted
from tests.support.waiting import until

from kalends.domain.errors import Conflict, Misconfigured, Occupied
from kalends.edge import listeners
from kalends.edge.operations import Answer, Operation
from kalends.settings import HttpSettings

MARKER = "the-secret-words-of-a-user"
NOTES = "/memories/m/notes"
JSON = {"content-type": "application/json"}


@pytest.fixture
async def edge():
    """The table of the tests, served."""
    async with hosted() as found:
        yield found


async def raw_exchange(port: int, request: bytes) -> bytes:
    """Send *request* as it is and read until the server closes or stops answering."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await writer.drain()
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return answer


async def refuses(port: int) -> bool:
    """Whether nobody listens there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return True
    writer.close()
    return False


async def test_a_call_is_decoded_and_answered(edge):
    """Body, path, scope and status come from the table."""
    answer = await edge.client.post(NOTES, json={"text": "hello", "count": 3})
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/json"
    assert (answer.json()["memory"], answer.json()["body"]["text"], answer.json()["body"]["count"]) == ("m", "hello", 3)


async def test_every_answer_forbids_storing_and_guessing_and_names_no_server(edge):
    """Answers hold what people said; banners help only attackers."""
    for answer in (await edge.client.get(NOTES), await edge.client.get("/nope"), await edge.client.get("/openapi.json")):
        assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-store", "nosniff")
        assert "server" not in answer.headers


async def test_a_query_reaches_the_handler_with_its_types_and_defaults(edge):
    """Parameters that are not given have the struct's defaults."""
    query = (await edge.client.get(NOTES, params={"limit": "7"})).json()["query"]
    assert (query["limit"], query["order"]) == (7, "asc")


async def test_an_encoded_slash_stays_inside_its_segment(edge):
    """Ids may hold any character."""
    answer = await edge.client.get(NOTES + "/a%2Fb%20%C3%A9")
    assert answer.json()["path"] == {"memory": "m", "id": "a/b é"}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nope", 404, "not_found"),
        ("/memories//notes", 404, "not_found"),
        (NOTES + "/", 404, "not_found"),
        ("/memories/UPPER/notes", 422, "invalid"),
        ("/memories/m/notes/%ff", 400, "malformed"),
        ("/memories/m/notes/%zz", 400, "malformed"),
        ("/memories/m/notes/a%00", 422, "invalid"),
        (NOTES + "?limit=1&limit=2", 422, "invalid"),
        (NOTES + "?nope=1", 422, "invalid"),
        ("/memories/m/notes/x?any=1", 422, "invalid"),
    ],
)
async def test_wrong_targets_are_problems(edge, path, status, code):
    """Whatever is wrong with a URL, the answer says so as a problem."""
    answer = await raw_exchange(edge.port, f"GET /v1{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {edge.admin}\r\n\r\n".encode())
    assert f" {status} ".encode() in answer.splitlines()[0]
    again = await edge.client.get(path) if "%zz" not in path else None
    assert again is None or (again.json()["code"] == code and again.headers["content-type"] == "application/problem+json")


async def test_errors_come_in_the_order_of_the_contract(edge):
    """401, then 404 for a foreign memory, then 403, and only then what is wrong with the body."""
    search = await edge.token(memories=["m"], rights=("search",))
    assert (await edge.client.post(NOTES, content=b"{", headers=edge.bearer("kal_wrong"))).status_code == 401
    assert (await edge.client.post("/memories/other/notes", content=b"{", headers=edge.bearer(search))).status_code == 404
    assert (await edge.client.post(NOTES, content=b"{", headers=edge.bearer(search))).status_code == 403
    assert (await edge.client.post(NOTES, content=b"{")).status_code == 415
    assert (await edge.client.post(NOTES, content=b"{", headers=JSON)).status_code == 400


async def test_a_missing_credential_is_asked_for(edge):
    """RFC 9110 wants the scheme named."""
    async with httpx.AsyncClient(base_url=edge.client.base_url) as stranger:
        answer = await stranger.get(NOTES)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="kalends"')


async def test_two_credentials_are_none(edge):
    """A proxy and this server might each believe another one."""
    headers = [("authorization", f"Bearer {edge.admin}"), ("authorization", f"Bearer {edge.admin}")]
    async with httpx.AsyncClient(base_url=edge.client.base_url) as client:
        assert (await client.get(NOTES, headers=headers)).status_code == 401


@pytest.mark.parametrize(
    "declared", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "application/jsonp"]
)
async def test_other_content_types_are_refused(edge, declared):
    """A browser's form must not be taken for JSON."""
    assert (await edge.client.post(NOTES, content=b'{"text":"x"}', headers={"content-type": declared})).status_code == 415


@pytest.mark.parametrize("declared", ["application/json", "Application/JSON; charset=UTF-8"])
async def test_json_may_name_its_charset(edge, declared):
    """Many clients do."""
    assert (await edge.client.post(NOTES, content=b'{"text":"x"}', headers={"content-type": declared})).status_code == 202


async def test_a_body_in_which_all_has_defaults_may_be_left_out(edge):
    """``POST …/run`` needs no ``{}``."""
    assert (await edge.client.post("/jobs/x/run")).json()["body"] == {"dry_run": False}
    assert (await edge.client.post("/jobs/x/run", json={"dry_run": True})).json()["body"] == {"dry_run": True}


async def test_a_lenient_operation_gets_the_body_undecoded(edge):
    """One bad item must not refuse its neighbours, so it decodes by itself."""
    answer = await edge.client.post("/memories/m/batch", content=b"not json", headers=JSON)
    assert (answer.status_code, answer.json()["raw_size"], answer.json()["body"]) == (200, 8, None)


async def test_a_body_over_the_limit_is_refused_by_its_announced_length(edge):
    """Nothing of it is read."""
    request = f"POST /v1{NOTES} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {edge.admin}\r\n"
    answer = await raw_exchange(edge.port, (request + "content-type: application/json\r\ncontent-length: 99999999999\r\n\r\n").encode())
    assert b" 413 " in answer.splitlines()[0]


async def test_a_body_over_the_limit_is_refused_while_it_streams(edge):
    """A chunked body announces no length."""

    async def chunks():
        for _ in range(100):
            yield b" " * 1024

    answer = await edge.client.post(NOTES, content=chunks(), headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert (await edge.client.get(NOTES)).status_code == 200


async def test_headers_without_an_end_are_cut_off(edge):
    """Nobody without a credential may fill the memory."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(b"GET /v1/nope HTTP/1.1\r\nhost: x\r\nx-a: ")
    answer = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(10):
            while not answer:
                writer.write(b"a" * 16_384)
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.01):
                        answer = await reader.read(1024)
    writer.close()
    assert not answer or b" 431 " in answer
    assert (await edge.client.get(NOTES)).status_code == 200


@pytest.mark.parametrize("pieces", [1, 2, 50])
@pytest.mark.parametrize(("size", "status"), [(60_000, 200), (80_000, 431), (200_000, 431)])
async def test_a_head_that_is_too_long_is_refused_in_however_many_pieces_it_comes(edge, size, status, pieces):
    """Also where its end comes with its beginning, and nothing else is said."""
    path = edge.client.base_url.copy_with(path=f"/v1{NOTES}").raw_path
    request = b"GET " + path + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-long: " + b"a" * size + b"\r\n"
    request += f"authorization: {edge.client.headers['authorization']}\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    step = -(-len(request) // pieces)
    with contextlib.suppress(ConnectionError):
        for start in range(0, len(request), step):
            writer.write(request[start : start + step])
            await writer.drain()
    answer = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(10):
            answer = await reader.read()
    writer.close()

    # who still sends when the connection ends may lose the answer; nothing else can be said
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()) or (status == 431 and pieces > 1 and not answer)
    assert answer.count(b"HTTP/1.1 ") <= 1


async def test_a_method_that_a_path_does_not_have_is_405_with_allow(edge):
    """The header names those it has."""
    answer = await edge.client.put(NOTES)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"


async def test_head_and_options_are_answered_as_http_wants(edge):
    """HEAD is GET without its body; OPTIONS needs no credential."""
    head = await edge.client.head(NOTES)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 0
    async with httpx.AsyncClient(base_url=edge.client.base_url) as stranger:
        options = await stranger.options(NOTES)
        assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
        assert (await stranger.head(NOTES)).status_code == 401


async def test_request_ids_are_echoed_if_they_are_plain_and_made_if_not(edge):
    """They stand in logs, so they must not hold line breaks or essays."""
    assert (await edge.client.get(NOTES, headers={"x-request-id": "abc-1.2"})).headers["x-request-id"] == "abc-1.2"
    for wrong in ("a b", "x" * 200, "<script>"):
        made = (await edge.client.get(NOTES, headers={"x-request-id": wrong})).headers["x-request-id"]
        assert made != wrong
        assert len(made) == 32


async def test_the_trace_goes_on_in_the_calls_headers_and_credentials_do_not(edge):
    """What handlers see may reach the log's headers."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "cookie": "a=b"}
    seen = (await edge.client.get(NOTES, headers=headers)).json()["headers"]
    assert seen["traceparent"].startswith(f"00-{trace}-")
    assert "00f067aa0ba902b7" not in seen["traceparent"]
    assert not {"authorization", "cookie"} & set(seen)


async def test_a_throttled_caller_learns_when_to_come_back(edge):
    """The header has whole seconds, rounded up; the body says exactly and names the dependency."""
    answer = await edge.client.get("/away")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert (answer.json()["retry_after_s"], answer.json()["dependency"]) == (1.2, "lexicon")


async def test_a_request_without_an_end_is_ended():
    """Every wait has a deadline."""
    async with hosted(settings=HttpSettings(deadline_s=0.05)) as edge:
        answer = await edge.client.get("/stall")
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")


async def test_an_unexpected_error_is_a_500_that_says_nothing():
    """Neither the caller nor the log sees its message."""
    row = Operation(name="x", method="GET", path="/x", right="search", summary="X.", handle=failing(ValueError(MARKER)), answer=None)
    with structlog.testing.capture_logs() as lines:
        async with hosted(row) as edge:
            answer = await edge.client.get("/x")
    assert (answer.status_code, answer.json()["detail"]) == (500, "internal error")
    assert MARKER not in answer.text + repr(lines)
    assert lines[0]["request_id"] == answer.json()["request_id"]


async def test_a_header_with_a_line_break_is_not_sent():
    """A value from outside must not add headers."""

    async def handle(call):
        return Answer(headers={"etag": "a\r\nset-cookie: b"})

    row = Operation(name="x", method="GET", path="/x", right="search", summary="X.", handle=handle, answer=None)
    with structlog.testing.capture_logs():
        async with hosted(row) as edge:
            answer = await edge.client.get("/x")
    assert answer.status_code == 500
    assert "set-cookie" not in answer.headers


async def test_an_answers_own_status_and_headers_win():
    """A write that waited answers 200 where the row says 202."""

    async def handle(call):
        return Answer(body={"a": 1}, status=200, headers={"ETag": '"7"'})

    row = Operation(name="x", method="GET", path="/x", right="search", summary="X.", handle=handle, answer=None, status=202)
    async with hosted(row) as edge:
        answer = await edge.client.get("/x")
    assert (answer.status_code, answer.headers["etag"], answer.json()) == (200, '"7"', {"a": 1})


async def test_whoever_has_it_already_is_told_so_without_a_body():
    """304 has no body and says nothing of one, and the connection goes on."""

    async def handle(call):
        return Answer(status=304, headers={"ETag": '"7"'}) if "if-none-match" in call.headers else Answer(body={"a": 1})

    row = Operation(name="x", method="GET", path="/x", right="search", summary="X.", handle=handle, answer=None, statuses=(304,))
    async with hosted(row) as edge:
        for _ in range(2):
            answer = await edge.client.get("/x", headers={"if-none-match": '"7"'})
            assert (answer.status_code, answer.headers["etag"], answer.content) == (304, '"7"', b"")
            assert not {"content-length", "content-type"} & answer.headers.keys()
        assert (await edge.client.get("/x")).json() == {"a": 1}


async def test_requests_are_counted_by_operation_and_outcome(edge):
    """A problem's code is the outcome; no label names a memory."""
    await edge.client.get(NOTES)
    await edge.client.get(NOTES + "?limit=x")
    await edge.client.get("/nope")
    labels = {"service": "notes", "transport": "http", "operation": "notes.list"}
    count = edge.metrics.registry.get_sample_value
    assert count("kalends_requests_total", {**labels, "outcome": "ok"}) == 1
    assert count("kalends_requests_total", {**labels, "outcome": "invalid"}) == 1
    unrouted = {"service": "edge", "transport": "http", "operation": "unrouted", "outcome": "not_found"}
    assert count("kalends_requests_total", unrouted) == 1


async def test_running_requests_end_before_the_listener_does():
    """A rolling restart loses no answer."""
    started, release = asyncio.Event(), asyncio.Event()

    async def handle(call):
        started.set()
        await release.wait()
        return Answer(body={})

    async def let_go(port: int) -> None:
        await until(lambda: refuses(port))
        release.set()

    row = Operation(name="x", method="GET", path="/x", right="search", summary="X.", handle=handle, answer=None)
    async with httpx.AsyncClient() as client, asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        async with hosted(row) as edge:
            asked = tasks.create_task(client.get(f"{edge.client.base_url}x", headers=edge.bearer()))
            await started.wait()
            tasks.create_task(let_go(edge.port))
        assert release.is_set(), "the listener left before its request had ended"
        assert (await asked).status_code == 200


async def test_a_port_that_is_taken_says_so():
    """Two instances on one port is the commonest mistake."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        with pytest.raises(Occupied, match=str(held.getsockname()[1])):
            listeners.bind("127.0.0.1", held.getsockname()[1])


@pytest.mark.parametrize("host", ["203.0.113.1", "no.such.host.invalid"])
async def test_an_address_of_somebody_else_is_a_misconfiguration(host):
    """The message names the setting."""
    with pytest.raises(Misconfigured, match=r"http\.host"):
        listeners.bind(host, 0)


async def test_a_table_that_contradicts_itself_is_refused_at_start():
    """The order of rows must not decide who answers."""
    row = Operation(name="notes.add", method="GET", path="/x", right="search", summary="X.", handle=failing(Conflict()), answer=None)
    with pytest.raises(Misconfigured, match=r"notes\.add"):
        async with hosted(row):
            raise AssertionError("unreachable")


async def test_the_document_is_served_without_a_credential_and_can_be_loaded(edge):
    """Generators and fuzzers start from it."""
    async with httpx.AsyncClient(base_url=edge.client.base_url) as stranger:
        document = (await stranger.get("/openapi.json")).json()
    loaded = schemathesis.openapi.from_dict(document)
    names = {found.ok().definition.raw["operationId"] for found in loaded.get_all_operations()}
    assert names == {operation.name for service in edge.services for operation in service.operations}
    assert (await edge.client.delete("/openapi.json")).status_code == 405


async def test_tokens_are_made_listed_and_revoked(edge):
    """The secret is shown once; after its end the token opens nothing."""
    made = await edge.client.post("/tokens", json={"memories": ["m"], "rights": ["search"], "label": "agent"})
    assert made.status_code == 201
    secret = edge.bearer(made.json()["token"])
    assert (await edge.client.get(NOTES, headers=secret)).status_code == 200
    listed = (await edge.client.get("/tokens")).json()["items"]
    assert [(token["id"], token["label"]) for token in listed if token["label"]] == [(made.json()["id"], "agent")]
    assert made.json()["token"] not in repr(listed)
    assert (await edge.client.delete(f"/tokens/{made.json()['id']}")).status_code == 204
    assert (await edge.client.get(NOTES, headers=secret)).status_code == 401
    assert (await edge.client.delete(f"/tokens/{made.json()['id']}")).status_code == 404


async def test_nobody_gives_away_more_than_they_have(edge):
    """A limited admin makes, sees and revokes tokens within its limits only."""
    limited = edge.bearer(await edge.token(memories=["m"], rights=("admin",), expires_at=edge.clock.now().replace(hour=20)))
    ends = {"expires_at": "2026-03-01T19:00:00Z"}

    async def make(headers, **body) -> int:
        return (await edge.client.post("/tokens", json={"rights": ["search"], **body}, headers=headers)).status_code

    assert await make(limited, memories=["m"], **ends) == 201
    assert await make(limited, memories=None, **ends) == 403
    assert await make(limited, memories=["m", "other"], **ends) == 404
    assert await make(limited, memories=["m"]) == 403
    assert await make(limited, memories=["m"], expires_at="2026-03-01T21:00:00Z") == 403
    assert await make(edge.bearer(), memories=["m"], expires_at="2026-01-01T00:00:00Z") == 422
    assert await make(edge.bearer(), memories=["No"]) == 422
    assert await make(edge.bearer(), memories=["m"], rights=["root"]) == 422
    assert await make(edge.bearer(await edge.token(rights=("search",))), memories=["m"]) == 403
    seen = (await edge.client.get("/tokens", headers=limited)).json()["items"]
    assert all(token["memories"] == ["m"] for token in seen)
    everyones = next(token for token in (await edge.client.get("/tokens")).json()["items"] if token["memories"] is None)
    assert (await edge.client.delete(f"/tokens/{everyones['id']}", headers=limited)).status_code == 404
