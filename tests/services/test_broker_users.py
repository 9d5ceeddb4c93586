"""A broker that is not a child of Kalends, as in a pod, and the command that keeps its users."""

import json
import re
import sys

import pytest
from nats.errors import Error as NatsError
from tests.support.instance import Child, clean_environment, free_port, wait_until
from tests.support.visitors import connected
from tests.support.waiting import until

from kalends.adapters.embedded.clock import SystemClock
from kalends.adapters.nats import NatsOptions, open_nats
from kalends.adapters.nats.broker_config import BrokerUser
from kalends.adapters.nats.server import find_binary
from kalends.app import broker_users
from kalends.domain.errors import Misconfigured
from kalends.domain.scope import Tenant
from kalends.edge.agents import Agents
from kalends.kit import nkeys
from kalends.settings import load

PASSWORD = "a-password-of-tests"


@pytest.fixture
def broker(tmp_path):
    """A nats-server whose users are in a file that it includes, with the platform's alone; its port."""
    port = free_port()
    (tmp_path / "users").mkdir()
    (tmp_path / "auth.conf").write_text(broker_users.text([BrokerUser(name="kalends", password=PASSWORD)]), encoding="utf-8")
    (tmp_path / "users" / "auth.conf").write_bytes((tmp_path / "auth.conf").read_bytes())
    (tmp_path / "password").write_text(PASSWORD, encoding="utf-8")
    config = tmp_path / "nats.conf"
    config.write_text(
        f'listen: "127.0.0.1:{port}"\npid_file: "{tmp_path}/users/nats.pid"\ninclude "users/auth.conf"\n'
        f'jetstream: {{store_dir: "{tmp_path}/store", sync_interval: always, max_file_store: 1099511627776}}\n',
        encoding="utf-8",
    )
    child = Child([str(find_binary(None)), "-c", str(config)], env=clean_environment(), errors=tmp_path / "broker.err")
    assert wait_until((tmp_path / "users" / "nats.pid").exists, seconds=30)
    yield port
    child.close()


@pytest.fixture
def keeper(broker, tmp_path):
    """The command beside it."""
    settings = {
        "KALENDS_LOG__URL": f"nats://127.0.0.1:{broker}",
        "KALENDS_LOG__USER": "kalends",
        "KALENDS_LOG__PASSWORD_FILE": str(tmp_path / "password"),
    }
    command = [sys.executable, "-m", "kalends.app.cli", "broker-users", "--data", str(tmp_path / "data")]
    command += ["--file", str(tmp_path / "users" / "auth.conf"), "--pid-file", str(tmp_path / "users" / "nats.pid")]
    child = Child(command, env={**clean_environment(), **settings}, errors=tmp_path / "keeper.err")
    yield child
    child.close()


async def _enters(port, pair, agent_id):
    """Whether an agent is let in by its key; its connection is closed either way."""
    try:
        async with connected(f"nats://127.0.0.1:{port}", [], nkeys_seed_str=pair.seed, inbox_prefix=f"_INBOX_{agent_id}"):
            return True
    except NatsError:
        return False


async def test_an_agent_is_a_user_as_long_as_it_is_an_agent(broker, keeper, tmp_path):
    """By its key; not before it is registered, and not after it was revoked."""
    pair = nkeys.new_pair("user")
    async with open_nats(url=f"nats://127.0.0.1:{broker}", user="kalends", password=PASSWORD, options=NatsOptions()) as bus:
        agents = Agents(bus.records, clock=SystemClock())
        assert not await _enters(broker, pair, "nobody")

        made = await agents.register(Tenant("local"), pair.public, memories=["notes"], rights=["append", "search"])
        file = tmp_path / "users" / "auth.conf"
        await until(lambda: pair.public in file.read_text(encoding="utf-8"), deadline=60)
        await until(lambda: _enters(broker, pair, made.id), deadline=60)
        told = json.loads(file.read_text(encoding="utf-8").removeprefix("authorization: "))
        assert [user.get("nkey") for user in told["users"]] == [None, pair.public]
        assert keeper.running
        assert "notes" in json.dumps(told["users"][1]["permissions"])

        await agents.revoke(Tenant("local"), made.id)
        await until(lambda: pair.public not in file.read_text(encoding="utf-8"), deadline=60)
        await until(lambda: _is_out(broker, pair, made.id), deadline=60)


async def _is_out(port, pair, agent_id):
    return not await _enters(port, pair, agent_id)


async def test_a_file_that_cannot_be_written_is_said_as_itself(broker, tmp_path):
    """And not as a group of errors, which the command line would show as a fault of its own."""
    settings = {"LOG__URL": f"nats://127.0.0.1:{broker}", "LOG__USER": "kalends", "LOG__PASSWORD_FILE": str(tmp_path / "password")}
    found = load(file=None, environment={f"KALENDS_{name}": value for name, value in {**settings, "DATA": str(tmp_path / "data")}.items()})
    file = tmp_path / "nats.conf" / "auth.conf"

    with pytest.raises(Misconfigured, match=re.escape(str(file))):
        await broker_users.follow(found, file=file, pid_file=tmp_path / "users" / "nats.pid", version="0")


async def test_a_broker_of_our_own_needs_no_keeper(tmp_path):
    """It has the users from its parent."""
    with pytest.raises(Misconfigured, match=r"log\.url"):
        await broker_users.follow(load(file=None, environment={}), file=tmp_path / "a", pid_file=tmp_path / "b", version="0")
