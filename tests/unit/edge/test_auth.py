"""Authentication: tokens follow the records, and the admin's file is never half made."""

import asyncio
import contextlib
import stat
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.support.edge import TENANT, FixedClock
from tests.support.records import MemoryRecords
from tests.support.waiting import until

from kalends.domain.credentials import RIGHTS, new_token, token_hash
from kalends.domain.errors import Conflict, Misconfigured, NotFound, Unauthenticated, Unavailable
from kalends.domain.scope import Tenant
from kalends.edge import auth
from kalends.edge.auth import Authenticator


@contextlib.asynccontextmanager
async def running(records: MemoryRecords, clock: FixedClock) -> AsyncIterator[Authenticator]:
    """An authenticator that has seen every token."""
    authenticator = Authenticator(records, clock=clock)
    async with asyncio.TaskGroup() as tasks:
        loop = tasks.create_task(authenticator.run())
        async with asyncio.timeout(10):
            await authenticator.wait_ready()
        yield authenticator
        loop.cancel()


def accepted(authenticator: Authenticator, token: str) -> bool:
    """Whether *token* is let in."""
    try:
        authenticator.authenticate(f"Bearer {token}")
    except Unauthenticated:
        return False
    return True


@pytest.fixture
def records():
    """An empty store."""
    return MemoryRecords()


@pytest.fixture
def clock():
    """A clock that stands."""
    return FixedClock()


async def test_an_issued_token_names_its_principal(records, clock):
    """Tenant, memories and rights come from the record only."""
    async with running(records, clock) as authenticator:
        token, stored = await authenticator.issue(TENANT, memories=["b", "a", "a"], rights=["search", "append"])
        found = authenticator.authenticate(f"bearer {token}")
    assert (found.tenant, found.memories, found.rights) == (TENANT, {"a", "b"}, {"append", "search"})
    assert found.token_id == stored.id


async def test_only_the_hash_is_stored(records, clock):
    """Who reads the records cannot log in."""
    async with running(records, clock) as authenticator:
        token, _ = await authenticator.issue(TENANT, memories=None, rights=RIGHTS)
    record = (await records.list("token"))[0]
    assert record.name == token_hash(token)
    assert token.encode() not in record.value


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer a b", "Bearer \ud800", "Bearer é", "Bearer " + "a" * 600]
)
async def test_headers_without_a_known_token_are_refused(records, clock, header):
    """Whatever is sent, the answer is 401 and never an internal error."""
    async with running(records, clock) as authenticator:
        with pytest.raises(Unauthenticated):
            authenticator.authenticate(header)


async def test_before_the_tokens_are_read_nobody_is_told_that_a_token_is_wrong(records, clock):
    """A client that gets 401 throws its token away; one that gets 503 comes back."""
    with pytest.raises(Unavailable) as caught:
        Authenticator(records, clock=clock).authenticate(f"Bearer {new_token()}")
    assert caught.value.dependency == "records"


async def test_a_token_ends_when_it_expires(records, clock):
    """The clock decides, without any change of the records."""
    async with running(records, clock) as authenticator:
        token, _ = await authenticator.issue(TENANT, memories=None, rights=["search"], expires_at=clock.now().replace(hour=13))
        assert accepted(authenticator, token)
        clock.advance(hours=1)
        assert not accepted(authenticator, token)


async def test_revocation_is_immediate_here_and_soon_elsewhere(records, clock):
    """No other process asks for every request; it follows."""
    async with running(records, clock) as here, running(records, clock) as elsewhere:
        token, stored = await here.issue(TENANT, memories=None, rights=["search"])
        await until(lambda: accepted(elsewhere, token))
        await here.revoke(TENANT, stored.id)
        assert not accepted(here, token)
        await until(lambda: not accepted(elsewhere, token))
        assert await here.tokens(TENANT) == []
        with pytest.raises(NotFound):
            await here.revoke(TENANT, stored.id)


async def test_another_tenants_token_cannot_be_revoked(records, clock):
    """It does not exist for whoever asks."""
    async with running(records, clock) as authenticator:
        _, stored = await authenticator.issue(Tenant("other"), memories=None, rights=["search"])
        with pytest.raises(NotFound):
            await authenticator.revoke(TENANT, stored.id)


async def test_an_old_version_from_the_watch_does_not_revive_a_revoked_token(records, clock):
    """The watch may be behind what this process wrote itself."""
    async with running(records, clock) as authenticator:
        token, stored = await authenticator.issue(TENANT, memories=None, rights=["search"])
        old = (await records.list("token"))[0]
        await authenticator.revoke(TENANT, stored.id)
        authenticator._apply(old)
        assert not accepted(authenticator, token)


async def test_what_was_deleted_during_an_interruption_is_forgotten(records, clock):
    """After a reconnect the first pass tells what is gone."""
    async with running(records, clock) as authenticator:
        token, _ = await authenticator.issue(TENANT, memories=None, rights=["search"])
        other, _ = await authenticator.issue(TENANT, memories=None, rights=["append"])
        records.interrupt()
        await until(lambda: authenticator.health().state == "degraded")
        assert accepted(authenticator, token)
        await records.delete("token", TENANT, token_hash(token))
        await until(lambda: not accepted(authenticator, token))
        assert accepted(authenticator, other)
        assert authenticator.health().state == "up"


async def test_a_record_that_cannot_be_read_is_no_token_and_does_no_harm(records, clock):
    """One damaged record must not lock everybody out."""
    token = new_token()
    await records.put("token", TENANT, token_hash(token), b"\xff{")
    async with running(records, clock) as authenticator:
        good, _ = await authenticator.issue(TENANT, memories=None, rights=["search"])
        assert accepted(authenticator, good)
        assert not accepted(authenticator, token)
        assert len(await authenticator.tokens(TENANT)) == 1


async def test_the_first_start_makes_a_file_that_only_its_owner_reads(records, clock, tmp_path):
    """The file's token has every right; nothing else is left in the folder."""
    path = tmp_path / "token"
    async with running(records, clock) as authenticator:
        await authenticator.ensure_admin_token(path, tenant=TENANT)
        found = authenticator.authenticate(f"Bearer {path.read_text().strip()}")
    assert (found.rights, found.memories, found.tenant) == (set(RIGHTS), None, TENANT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


async def test_later_starts_keep_the_file_and_register_it_in_a_fresh_store(clock, tmp_path):
    """Clients keep their token when the store was lost."""
    path = tmp_path / "token"
    for records in (first := MemoryRecords(), first, MemoryRecords()):
        async with running(records, clock) as authenticator:
            await authenticator.ensure_admin_token(path, tenant=TENANT)
            token = path.read_text().strip()
            assert accepted(authenticator, token)
            assert len(await authenticator.tokens(TENANT)) == 1
    assert (tmp_path / "token").read_text().strip() == token


async def test_a_crash_while_the_file_was_made_leaves_nothing_in_the_way(records, clock, tmp_path):
    """The token appears whole or not at all."""
    (tmp_path / "token.new").write_text("half of a to")
    async with running(records, clock) as authenticator:
        await authenticator.ensure_admin_token(tmp_path / "token", tenant=TENANT)
    assert auth._read(tmp_path / "token").startswith("kal_")


async def test_processes_that_make_the_file_at_once_agree_on_its_token(tmp_path):
    """They share it, as pods share a volume; one makes it, and nobody reads half of it or fails."""
    for number in range(20):
        path = tmp_path / f"token-{number}"
        made = await asyncio.gather(*(asyncio.to_thread(auth._read_or_make, path) for _ in range(8)))

        assert set(made) == {path.read_text().strip()}
    assert len(list(tmp_path.iterdir())) == 20


async def test_a_revoked_file_token_does_not_come_back_at_the_next_start(records, clock, tmp_path):
    """Revoked means revoked; the message says how to get a new one."""
    path = tmp_path / "token"
    async with running(records, clock) as authenticator:
        await authenticator.ensure_admin_token(path, tenant=TENANT)
        await authenticator.revoke(TENANT, (await authenticator.tokens(TENANT))[0].id)
        with pytest.raises(Misconfigured, match="delete the file"):
            await authenticator.ensure_admin_token(path, tenant=TENANT)
        assert not accepted(authenticator, path.read_text().strip())


async def test_a_file_that_others_can_read_is_refused_with_the_fix(records, clock, tmp_path):
    """A secret that leaked must be noticed, not used."""
    path = tmp_path / "token"
    path.write_text(new_token())
    path.chmod(0o644)
    with pytest.raises(Misconfigured, match="chmod 600"):
        await Authenticator(records, clock=clock).ensure_admin_token(path, tenant=TENANT)


@pytest.mark.parametrize("content", ["", "hello", "kal_short", "\xff\xfe"])
async def test_a_file_without_a_token_of_ours_is_refused(records, clock, tmp_path, content):
    """A wrong file must not become a credential."""
    path = tmp_path / "token"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(Misconfigured, match="no token of ours"):
        await Authenticator(records, clock=clock).ensure_admin_token(path, tenant=TENANT)


async def test_a_link_in_place_of_the_file_is_refused(records, clock, tmp_path):
    """Someone else's file must not be read through ours."""
    (tmp_path / "elsewhere").write_text(new_token())
    (tmp_path / "token").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Misconfigured):
        await Authenticator(records, clock=clock).ensure_admin_token(tmp_path / "token", tenant=TENANT)


async def test_a_token_of_another_tenant_is_not_registered_twice(records, clock, tmp_path):
    """One secret for two tenants would make the answer depend on their order."""
    path = tmp_path / "token"
    authenticator = Authenticator(records, clock=clock)
    await authenticator.ensure_admin_token(path, tenant=Tenant("other"))
    with pytest.raises(Misconfigured, match=r"auth\.tenant"):
        await authenticator.ensure_admin_token(path, tenant=TENANT)


async def test_the_records_in_memory_keep_the_promises_of_the_port(records):
    """Compare-and-set, deletion and the watch behave as ports.records says."""
    first = await records.put("k", "o", "b", b"1", revision=0)
    with pytest.raises(Conflict):
        await records.put("k", "o", "b", b"2", revision=0)
    assert await records.put("k", "o", "b", b"2", revision=first) > first
    await records.put("k", "o", "a", b"3")
    await records.put("other", "o", "a", b"4")
    assert [record.name for record in await records.list("k")] == ["a", "b"]
    async with contextlib.aclosing(records.watch("k")) as changes:
        seen = [await anext(changes) for _ in range(3)]
        assert [record and record.name for record in seen] == ["a", "b", None]
        await records.delete("k", "o", "a")
        await records.delete("k", "o", "a")
        gone = await anext(changes)
        assert (gone.name, gone.deleted) == ("a", True)
    assert await records.get("k", "o", "a") is None
    assert await records.put("k", "o", "a", b"5", revision=0) > gone.revision


async def test_a_rotated_token_has_a_successor_and_ends_after_the_overlap(records, clock):
    """Both work until then, here and elsewhere, without a restart; the successor may do the same for as long."""
    ends = clock.now() + timedelta(days=30)
    async with running(records, clock) as here, running(records, clock) as elsewhere:
        old, stored = await here.issue(TENANT, memories=["a"], rights=["search"], label="mine", expires_at=ends)
        new, fresh = await here.rotate(TENANT, stored.id, overlap=timedelta(minutes=5))
        await until(lambda: accepted(elsewhere, new))
        assert accepted(here, old)
        assert accepted(here, new)
        assert (fresh.memories, fresh.rights, fresh.label, fresh.expires_at) == (("a",), ("search",), "mine", ends)
        assert fresh.replaces == stored.id
        assert {token.id: token.replaced_by for token in await here.tokens(TENANT)} == {stored.id: fresh.id, fresh.id: ""}
        clock.advance(minutes=5)
        assert not accepted(here, old)
        await until(lambda: not accepted(elsewhere, old))
        assert accepted(elsewhere, new)


async def test_an_overlap_does_not_lengthen_a_life(records, clock):
    """A token that ends in a minute ends in a minute."""
    async with running(records, clock) as authenticator:
        old, stored = await authenticator.issue(TENANT, memories=None, rights=["search"], expires_at=clock.now() + timedelta(minutes=1))
        await authenticator.rotate(TENANT, stored.id, overlap=timedelta(days=7))
        clock.advance(minutes=1)
        assert not accepted(authenticator, old)


async def test_a_token_is_rotated_once_and_its_successor_after_it(records, clock):
    """Two successors would be two secrets, one of which nobody has."""
    async with running(records, clock) as authenticator:
        _, stored = await authenticator.issue(TENANT, memories=None, rights=["search"])
        _, fresh = await authenticator.rotate(TENANT, stored.id, overlap=timedelta())
        with pytest.raises(Conflict, match=fresh.id):
            await authenticator.rotate(TENANT, stored.id, overlap=timedelta())
        with pytest.raises(NotFound):
            await authenticator.rotate(Tenant("other"), fresh.id, overlap=timedelta())
        assert await authenticator.rotate(TENANT, fresh.id, overlap=timedelta())


async def test_revoking_a_successor_ends_what_it_replaced(records, clock):
    """Whoever revokes a token does not expect its predecessor to live on for days."""
    async with running(records, clock) as authenticator:
        old, stored = await authenticator.issue(TENANT, memories=None, rights=["search"])
        new, fresh = await authenticator.rotate(TENANT, stored.id, overlap=timedelta(days=7))
        await authenticator.revoke(TENANT, fresh.id)
        assert not accepted(authenticator, old)
        assert not accepted(authenticator, new)


async def test_an_admin_file_whose_token_was_rotated_away_says_so(records, clock, tmp_path):
    """Instead of an instance that starts and refuses its owner."""
    path = tmp_path / "token"
    async with running(records, clock) as authenticator:
        await authenticator.ensure_admin_token(path, tenant=TENANT)
        (stored,) = await authenticator.tokens(TENANT)
        successor, _ = await authenticator.rotate(TENANT, stored.id, overlap=timedelta(minutes=1))
        await authenticator.ensure_admin_token(path, tenant=TENANT)
        clock.advance(minutes=1)
        with pytest.raises(Misconfigured, match="successor"):
            await authenticator.ensure_admin_token(path, tenant=TENANT)
        path.write_text(successor)
        await authenticator.ensure_admin_token(path, tenant=TENANT)


@pytest.mark.parametrize(
    ("header", "reason"),
    [(None, "no_credential"), ("Basic x", "no_credential"), (f"Bearer {new_token()}", "unknown"), ("Bearer a.b.c", "unknown")],
    ids=["none", "basic", "not issued", "no key of an issuer"],
)
async def test_a_refusal_has_a_reason_for_the_audit(records, clock, header, reason):
    """The caller reads the same words whatever it is."""
    async with running(records, clock) as authenticator:
        with pytest.raises(Unauthenticated) as caught:
            await authenticator.identify(header)
    assert caught.value.reason == reason


async def test_revoked_and_expired_are_told_apart_in_the_audit_only(records, clock):
    """An old agent looks different from an attacker."""
    async with running(records, clock) as authenticator:
        revoked, stored = await authenticator.issue(TENANT, memories=None, rights=["search"])
        await authenticator.revoke(TENANT, stored.id)
        expired, _ = await authenticator.issue(TENANT, memories=None, rights=["search"], expires_at=clock.now() + timedelta(seconds=1))
        clock.advance(seconds=1)
        found = []
        for token in (revoked, expired):
            with pytest.raises(Unauthenticated) as caught:
                await authenticator.identify(f"Bearer {token}")
            found.append((caught.value.detail, caught.value.reason))
    assert [reason for _, reason in found] == ["revoked", "expired"]
    assert len({detail for detail, _ in found}) == 1
