"""The broker as a child process: it dies with us, comes back when it dies alone, and is never somebody else's."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import nats
import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from tests.support.broker import SMALL, own_bus, watched_server
from tests.support.files import files_with
from tests.support.waiting import until

from kalends.adapters.nats import BrokerUser, LocalServer, ServerOptions, agent, open_nats
from kalends.adapters.nats.server import find_binary, server_name
from kalends.domain.errors import Misconfigured, Occupied, Unavailable

PARENT = """
import asyncio, sys
from pathlib import Path
from kalends.adapters.nats import LocalServer
async def main():
    server = LocalServer(Path(sys.argv[1]))
    await server.start()
    print(server.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def started(*command: str) -> subprocess.Popen[str]:
    """A process that we talk to through pipes."""
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def command_of(pid: int | None) -> str:
    """The command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_text()


def alive(pid: int) -> bool:
    """Whether the process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_it_starts_on_a_free_port_with_credentials_of_its_own(tmp_path: Path) -> None:
    """Two servers do not meet, strangers are refused, and nothing but the configuration file knows the password."""
    async with LocalServer(tmp_path / "a") as first, LocalServer(tmp_path / "b") as second:
        assert first.url != second.url
        assert first.password != second.password
        assert first.state.status == "up"
        assert (tmp_path / "a" / "broker.conf").stat().st_mode & 0o777 == 0o600
        with pytest.raises(Misconfigured):
            async with open_nats(url=first.url, user=first.user, password=second.password, options=SMALL):
                pass
        assert files_with(tmp_path / "a", first.password.encode()) == ["broker.conf"]
        assert first.password not in command_of(first.pid)


async def test_it_syncs_always(tmp_path: Path) -> None:
    """Acknowledged means on disk."""
    async with LocalServer(tmp_path) as server:
        config = json.loads((tmp_path / "broker.conf").read_text())
        assert config["jetstream"]["sync_interval"] == "always"
        assert config["listen"] == server.url.removeprefix("nats://")


async def test_a_killed_broker_comes_back_with_the_same_address(tmp_path: Path) -> None:
    """Clients only have to reconnect."""
    async with watched_server(tmp_path) as server, own_bus(server) as bus:
        url, pid = server.url, server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: server.pid not in {pid, None} and server.state.status == "up")

        assert server.url == url
        await until(lambda: bus.state.status == "up")
        await bus.log.heads()


async def test_a_stopped_broker_is_gone_and_stays_gone(tmp_path: Path) -> None:
    """Stopping ends the watch too."""
    server = LocalServer(tmp_path)
    await server.start()
    watch = asyncio.create_task(server.run())
    pid = server.pid
    assert pid is not None

    await server.stop()

    async with asyncio.timeout(10):
        await watch
    assert not alive(pid)
    assert (server.pid, server.state.status) == (None, "down")
    assert not (tmp_path / "broker.pid").exists()


async def test_it_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    """No orphan holds the store."""
    parent = started(sys.executable, "-c", PARENT, str(tmp_path))
    assert parent.stdout is not None
    pid = int(await asyncio.to_thread(parent.stdout.readline))
    assert alive(pid)

    parent.kill()
    parent.communicate()

    await until(lambda: not alive(pid))
    async with LocalServer(tmp_path) as server:
        assert server.state.status == "up"


async def test_an_orphan_of_ours_is_ended_before_a_new_start(tmp_path: Path) -> None:
    """The pid file finds what the kernel did not end; without it the store would have two writers."""
    first = LocalServer(tmp_path)
    await first.start()
    noted = json.loads((tmp_path / "broker.pid").read_text())
    assert noted["pid"] == first.pid
    (tmp_path / "broker.pid").write_text(json.dumps({**noted, "owner": 2**22 - 7, "owner_started": 1}))

    async with LocalServer(tmp_path) as second:
        assert second.pid != noted["pid"]
        assert not alive(noted["pid"])
    await first.stop()


async def test_a_folder_of_a_living_process_is_occupied(tmp_path: Path) -> None:
    """Its broker is left alone."""
    parent = started(sys.executable, "-c", PARENT, str(tmp_path))
    assert parent.stdout is not None
    pid = int(await asyncio.to_thread(parent.stdout.readline))
    try:
        with pytest.raises(Occupied, match=str(parent.pid)):
            await LocalServer(tmp_path).start()
        assert alive(pid)
    finally:
        parent.kill()
        parent.communicate()


async def test_a_reused_process_id_is_left_alone(tmp_path: Path) -> None:
    """The number alone does not make a process ours."""
    stranger = started(sys.executable, "-c", "input()")
    try:
        note = {"pid": stranger.pid, "started": 1, "owner": 1, "owner_started": 1}
        (tmp_path / "broker.pid").write_text(json.dumps(note))
        async with LocalServer(tmp_path):
            assert stranger.poll() is None
    finally:
        stranger.communicate("\n")


async def test_a_taken_port_is_occupied(tmp_path: Path) -> None:
    """The error says which, and holds no secret."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = LocalServer(tmp_path, options=ServerOptions(port=port, start_timeout=10))
        with pytest.raises((Occupied, Unavailable)) as caught:
            await server.start()

    assert isinstance(caught.value, Occupied)
    assert str(port) in caught.value.detail
    assert server.password not in caught.value.detail
    assert server.pid is None


async def test_a_bad_program_or_a_bad_folder_is_said(tmp_path: Path) -> None:
    """With what went wrong in the detail."""
    with pytest.raises(Misconfigured):
        await LocalServer(tmp_path / "a", options=ServerOptions(binary=tmp_path / "nothing")).start()
    with pytest.raises(Unavailable):
        await LocalServer(tmp_path / "b", options=ServerOptions(binary=Path("/bin/false"))).start()
    store = tmp_path / "c" / "store"
    store.parent.mkdir()
    store.write_text("in the way")
    with pytest.raises((Unavailable, Misconfigured), match="last words"):
        await LocalServer(tmp_path / "c").start()


async def test_an_agent_reaches_its_own_prefix_and_inbox_and_nothing_else(tmp_path: Path) -> None:
    """A new user works after a reload; the log, the API and other inboxes are closed to it, and one that is removed is cut off."""
    users: list[BrokerUser] = []
    async with LocalServer(tmp_path, users=lambda: users) as server, own_bus(server) as bus:
        users.append(agent("a1", password="p" * 20, tenant="acme", memory="notes"))
        await server.reload()
        refused: list[str] = []

        async def note(error: Exception) -> None:
            refused.append(str(error).lower())

        async def can_connect() -> bool:
            client = Client()
            try:
                await client.connect(server.url, user="a1", password="p" * 20, allow_reconnect=False, connect_timeout=1)
            except (nats.errors.Error, OSError):  # a refused connection may be reset before the reason is read
                return False
            finally:
                await client.close()
            return True

        await until(can_connect)
        client = await nats.connect(
            server.url, user="a1", password="p" * 20, inbox_prefix="_INBOX_a1", error_cb=note, allow_reconnect=False
        )

        async def echo(message: Msg) -> None:
            await message.respond(message.data)

        await bus.connection.subscribe("kalends.v1.acme.notes.echo", cb=echo)
        await bus.connection.flush()

        async def is_answered() -> bool:
            try:
                return (await client.request("kalends.v1.acme.notes.echo", b"hello", timeout=5)).data == b"hello"
            except nats.errors.NoRespondersError:  # for a moment of a reload the server routes nothing to anybody
                return False

        await until(is_answered)
        for subject in ("ev.v1.u.1.acme.notes", "$JS.API.STREAM.DELETE.EVENTS_0", "kalends.v1.acme.diary.echo"):
            await client.publish(subject, b"")
        for subject in ("_INBOX.>", "kalends.v1.>", "_INBOX_a2.>"):
            await client.subscribe(subject)
        await until(lambda: len(refused) >= 6)
        assert all("permissions violation" in error for error in refused)
        users.clear()
        await server.reload()
        await until(lambda: client.is_closed)


async def test_a_name_is_asked_of_a_server_and_of_nothing_else(tmp_path: Path) -> None:
    """A port where nobody speaks the protocol has no name."""
    assert await server_name("127.0.0.1", 1) is None
    assert find_binary(None).name == "nats-server"
