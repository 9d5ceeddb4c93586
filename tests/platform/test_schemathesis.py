"""Check 6: a schemathesis run over the OpenAPI document of a running instance, with its data.

A newcomer would get wrong: ``positive_data_acceptance`` is left out because types cannot say everything (what a cursor is, that an id is a
ULID or UUID, that text holds no NUL), and 422 is the right answer to what only the domain can refuse. It asks with all rights and learns
ids from answers, so what would take away its own credential, or every memory of the instance, is kept from it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.platform.people import Person

EXAMPLES = int(os.environ.get("KALENDS_TEST_SCHEMATHESIS_EXAMPLES", "10"))
CONFIGURATION = """
[checks]
positive_data_acceptance.enabled = false
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 409, 413, 415, 422, 429]

[parameters]
"path.memory" = "fuzzed"
"path.token_id" = "01ARZ3NDEKTSV4RRFFQ69G5FAV"

[[operations]]
include-method = "PATCH"
parameters = { "path.memory" = "patched" }

[[operations]]
include-operation-id = "memories.create"
parameters = { "path.memory" = "made" }

[[operations]]
include-operation-id = "memories.remove"
parameters = { "path.memory" = "made" }

[[operations]]
include-operation-id = "erasures.create"
parameters = { "path.memory" = "erased" }

[[operations]]
include-operation-id = "erasures.tenant"
enabled = false
"""


def test_schemathesis_finds_nothing(admin: Person, tmp_path: Path) -> None:
    """No 5xx, nothing that the document does not describe, no wrong input taken, no route without a credential."""
    memory = admin.make_memory("fuzzed")
    admin.make_memory("patched")
    admin.make_memory("erased")
    admin.remember(memory, "something to find", "and something else")
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION, encoding="utf-8")
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(configuration), "run"]
    options = ["--max-examples", str(EXAMPLES), "--phases", "coverage,fuzzing", "--no-color"]
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(admin.good("GET", "/openapi.json")), encoding="utf-8")
    where = [str(document), "--url", f"{admin.instance.url}/v1", "--header", f"Authorization: Bearer {admin.token}"]

    done = subprocess.run(
        [*command, *where, *options, "--generation-deterministic", "--continue-on-failure", "--suppress-health-check", "filter_too_much"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert admin.ask("GET", f"{memory}/events").status_code == 200
