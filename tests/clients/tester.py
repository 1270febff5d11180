"""scim2-cli's tester: every check passes, and none is missing."""

import os
import pathlib
import re
import subprocess
import sys

VERDICT = re.compile(r"^([A-Z]+) (\w+)$")

# How often a check is reported at least: once a resource type, an attribute, a method or a schema.
DISCOVERY = {
    "service_provider_config_endpoint": 1,
    "service_provider_config_endpoint_methods": 4,
    "query_all_resource_types": 1,
    "query_resource_type_by_id": 2,
    "resource_types_schema_validation": 2,
    "access_invalid_resource_type": 1,
    "resource_types_endpoint_methods": 4,
    "query_all_schemas": 1,
    "access_schema_by_id": 3,
    "access_invalid_schema": 1,
    "schemas_endpoint_methods": 4,
    "random_url": 1,
}
RESOURCES = {
    "object_creation": 2,
    "object_query": 2,
    "object_query_without_id": 2,
    "object_query_with_attributes": 4,
    "object_list_with_attributes": 4,
    "search_with_attributes": 4,
    "object_replacement": 2,
    "object_deletion": 2,
    "check_add_attribute": 27,
    "check_remove_attribute": 27,
    "check_replace_attribute": 30,
}


def checks(url, token):
    program = pathlib.Path(sys.executable).with_name("scim2")
    environment = {**os.environ, "SCIM_CLI_HEADERS": f"Authorization: Bearer {token}"}
    command = [program, "--url", url, "test", "--verbose"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    missing = {**DISCOVERY, **RESOURCES}
    for verdict, check, said in reports(run.stdout):
        missing[check] = missing.get(check, 0) - 1
        yield check, None if verdict == "SUCCESS" else f"{verdict}\n{said}"
    yield "it ends well", None if run.returncode == 0 else f"exit code {run.returncode}\n{run.stderr}"
    missing = {check: number for check, number in missing.items() if number > 0}
    yield "no check is missing", f"missing: {missing}" if missing else None


def reports(text):
    """Each (verdict, check, what was said about it)."""
    report = None
    for line in text.splitlines():
        if verdict := VERDICT.match(line):
            if report:
                yield report
            report = (*verdict.groups(), "")
        elif report:
            report = (*report[:2], report[2] + line.strip() + "\n")
    if report:
        yield report
