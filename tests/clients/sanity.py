"""scim-sanity's probe: its list of tests, each with the outcome it must have."""

import json
import pathlib
import subprocess
import sys

# The probe adds a member with the made-up id `fake-member-id` and wants it stored. Here a member that does not exist is
# refused: stored silently, whoever was meant would be without access for good.
REFUSED = ("PATCH /Groups/{id} add member", "fail", "Expected 200, got 400")

OUTCOMES = [
    ("GET /ServiceProviderConfig", "pass"),
    ("GET /Schemas", "pass"),
    ("GET /ResourceTypes", "pass"),
    ("POST /Users", "pass"),
    ("GET /Users/{id}", "pass"),
    ("PUT /Users/{id}", "pass"),
    ("GET /Users/{id} after PUT", "pass"),
    ("PATCH /Users/{id}", "pass"),
    ("GET /Users/{id} after PATCH", "pass"),
    ("DELETE /Users/{id}", "pass"),
    ("GET /Users/{id} after DELETE (expect 404)", "pass"),
    ("POST /Groups", "pass"),
    ("GET /Groups/{id}", "pass"),
    ("PUT /Groups/{id}", "pass"),
    ("GET /Groups/{id} after PUT", "pass"),
    ("PATCH /Groups/{id}", "pass"),
    ("GET /Groups/{id} after PATCH", "pass"),
    REFUSED,
    ("PATCH /Groups/{id} remove members", "pass"),
    ("DELETE /Groups/{id}", "pass"),
    ("GET /Groups/{id} after DELETE (expect 404)", "pass"),
    # Resource types of draft-abbey-scim-agent-extension, which the service does not claim to have.
    ("Agent CRUD Lifecycle", "skip"),
    ("AgenticApplication CRUD Lifecycle", "skip"),
    ("Agent Rapid Lifecycle", "skip"),
    ("GET /Users (ListResponse)", "pass"),
    ("GET /Users?filter (no match)", "pass"),
    ("GET /Users?startIndex=1&count=1", "pass"),
    ("GET /Users?count=0 (boundary)", "pass"),
    ("GET /Users/nonexistent (expect 404)", "pass"),
    ("POST /Users invalid body (expect 400)", "pass"),
    ("POST /Users missing userName (expect 400)", "pass"),
]


def checks(url, token):
    program = pathlib.Path(sys.executable).with_name("scim-sanity")
    command = [program, "probe", url, "--token", token, "--i-accept-side-effects", "--json-output"]
    run = subprocess.run(command, capture_output=True, text=True)
    try:
        results = json.loads(run.stdout)["results"]
    except (ValueError, KeyError):
        yield "it reports", run.stdout + run.stderr
        return
    unexpected = list(results)
    for name, status, *message in OUTCOMES:
        found = [result for result in unexpected if result["name"] == name]
        wanted = {"status": status, **dict(zip(["message"], message))}
        as_wanted = [result for result in found if wanted.items() <= result.items()]
        if as_wanted:
            unexpected.remove(as_wanted[0])
        yield name, None if as_wanted else f"expected {wanted}, came {found}"
    yield "nothing else is said", "\n".join(map(str, unexpected)) if unexpected else None
