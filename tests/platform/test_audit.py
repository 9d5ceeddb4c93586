"""The audit of a running instance: what is in it, what is not, and that it holds.

A newcomer would get wrong: the instance is shared by many tests, so each looks only for what it did itself.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.platform.people import Person
from tests.support.instance import Instance, wait_until

SECRET = "a sentence that nobody may find in the audit"


def entries(admin: Person, **query: object) -> list[dict[str, Any]]:
    """What is listed, newest first."""
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    return list(admin.good("GET", f"/audit?limit=200&{asked}")["items"])


def test_calls_that_change_something_are_in_the_audit_when_they_are_answered(admin: Person) -> None:
    """With who, what, where and the outcome; over HTTP, with the id that the answer had."""
    admin.good("PUT", "/memories/audited", {"description": SECRET})
    changed = admin.ask("PATCH", "/memories/audited", {"description": SECRET}, headers={"x-request-id": "audit-1"})
    assert changed.status_code == 200

    newest = entries(admin, memory="audited")
    assert [(one["operation"], one["outcome"]) for one in newest[:2]] == [("memories.change", "ok"), ("memories.create", "ok")]
    assert newest[0]["request_id"] == "audit-1"
    assert newest[0]["actor"]
    assert SECRET not in json.dumps(newest)


def test_refused_calls_are_in_the_audit(admin: Person, instance: Instance) -> None:
    """Counted within a second or so; with the actor where it is known, and without what was asked for."""
    with admin.with_token("search", memories=["audited"]) as reader, Person(instance, "kal_" + "x" * 43) as nobody:
        reader_id = reader.token_id
        for _ in range(20):
            assert reader.ask("PUT", "/memories/audited", {}).status_code == 403
            assert nobody.ask("DELETE", f"/tokens/{SECRET.replace(' ', '-')}").status_code == 401

    def there() -> bool:
        known = entries(admin, actor=reader_id, refused="true", operation="memories.create")
        unknown = [one for one in entries(admin, refused="true", operation="tokens.revoke") if not one.get("actor")]
        return sum(one.get("count", 1) for one in known) >= 20 and sum(one.get("count", 1) for one in unknown) >= 20

    assert wait_until(there, seconds=10, every=0.1)
    listed = entries(admin, refused="true")
    assert SECRET.replace(" ", "-") not in json.dumps(listed)
    assert len([one for one in listed if one.get("actor") == reader_id]) < 20


def test_writes_of_events_are_counted(admin: Person) -> None:
    """Each call of them, in entries of a second."""
    memory = admin.make_memory("audited-writes")
    for number in range(30):
        admin.good("POST", f"{memory}/events", {"events": [{"session_id": "s", "kind": "message", "text": f"{SECRET} {number}"}]})

    def there() -> bool:
        found = entries(admin, memory="audited-writes", operation="events.append")
        return sum(one.get("count", 1) for one in found) == 30

    assert wait_until(there, seconds=10, every=0.1)
    assert SECRET not in json.dumps(entries(admin, memory="audited-writes"))


def test_another_tenant_sees_nothing_of_it(admin: Person, stranger: Person) -> None:
    """Not even that there was something, but for the links that it asks for."""
    admin.good("PUT", "/memories/audited", {})

    assert all(one["tenant"] == stranger.tenant for one in entries(stranger))
    links = [one for one in entries(stranger, links="true") if not one.get("at")]
    assert links
    assert all(set(one) == {"number", "previous", "hash"} for one in links)


def test_the_audit_holds_and_so_does_a_copy_of_it(admin: Person, instance: Instance, tmp_path: Path) -> None:
    """By the command line; a copy in which one character differs does not."""

    def kalends(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kalends.app.cli", *arguments]
        connection = {"KALENDS_URL": instance.url, "KALENDS_TOKEN_FILE": str(instance.token_file), "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=connection)

    whole = kalends("audit", "verify", "--json")
    assert whole.returncode == 0, whole.stderr
    assert json.loads(whole.stdout)["checked"] > 5
    copied = kalends("audit", "list", "--links", "--all", "--json")
    copy = tmp_path / "copy.json"
    copy.write_text(copied.stdout, encoding="utf-8")
    assert kalends("audit", "verify", str(copy)).returncode == 0
    copy.write_text(copied.stdout.replace('"outcome":"ok"', '"outcome":"no"', 1), encoding="utf-8")
    broken = kalends("audit", "verify", str(copy), "--json")
    assert broken.returncode == 1
    assert json.loads(broken.stdout)["broken"]["reason"] == "altered"
