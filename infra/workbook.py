#!/usr/bin/env python3
"""Makes infra/workbook.json from infra/kql.

  infra/workbook.py           writes it
  infra/workbook.py --check   says whether it is as the queries are
"""

import json
import pathlib
import sys
import uuid

HERE = pathlib.Path(__file__).resolve().parent
KQL = HERE / "kql"
WORKBOOK = HERE / "workbook.json"
COMPONENT = "microsoft.insights/components"
HOUR = 3_600_000

# What a text parameter holds until somebody fills it: a workbook does not run a query whose parameter has no value.
NO_ROWS = 'datetime(null), "", "", ""'
NOTHING = "-"

# What each tab shows, in order: (name, label, introduction, [(query, visualization)]).
TABS = [
    ("now", "Now", "", [
        ("17_failing_now", "table"),
        ("18_where_requests_die", "table"),
        ("19_refusals", "table"),
    ]),
    ("tenants", "Tenants", "", [
        ("14_quarantine_risk", "table"),
        ("21_last_contact", "table"),
        ("01_tenant_compare", "table"),
        ("02_group_compare", "table"),
        ("06_latency_by_operation_tenant", "table"),
        ("26_last_write", "table"),
    ]),
    ("mapping", "Mapping and tokens", "", [
        ("20_unmapped_attributes", "table"),
        ("22_unauthorized", "table"),
        ("24_credential_expiry", "table"),
    ]),
    ("lost", "Lost requests", "`scimgate explain --log` prints the rows of a customer's log as they belong into *Rows of the log* above.", [
        ("04_entra_rows_without_request", "table"),
        ("03_lost_between_host_and_handler", "table"),
        ("05_heartbeat_gaps", "table"),
        ("12_restarts_cold_starts", "table"),
    ]),
    ("load", "Load and storage", "", [
        ("09_dependency_failures", "table"),
        ("13_throttles", "table"),
        ("11_resources_vs_failures", "table"),
        ("08_concurrency", "timechart"),
        ("10_sockets_snat", "timechart"),
        ("07_payload_vs_duration", "table"),
    ]),
    ("request", "One request", "Paste the Reference, or the whole text of an error that ends with one.", [
        ("15_one_request", "table"),
    ]),
    ("user", "One user", "Paste `scim.subject`, or the Reference of any request about that person.", [
        ("23_one_user", "table"),
    ]),
    ("evidence", "Telemetry itself", "", [
        ("16_telemetry_health", "table"),
    ]),
]
PARAMETER_QUERY = "00_tenants"
# Runs on the workspace, which a workbook of Application Insights does not see.
NOT_SHOWN = {"25_daily_cap"}


def read(name):
    """A query and the question in its head."""
    text = (KQL / f"{name}.kql").read_text()
    first, *_ = text.splitlines()
    assert first.startswith("// Question: "), f"{name}.kql begins with its question"
    return text, first.removeprefix("// Question: ")


def identity(name):
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"scimgate/workbook/{name}"))


def parameter(name, label, kind, **more):
    return {"id": identity(name), "version": "KqlParameterItem/1.0", "name": name, "label": label, "type": kind, **more}


def parameters(name, items, **more):
    content = {"version": "KqlParameterItem/1.0", "parameters": items, "style": "pills", "queryType": 0, "resourceType": COMPONENT}
    return {"type": 9, "content": content, "name": name, **more}


def text(name, label, value, description):
    return parameter(name, label, 1, isRequired=True, value=value, description=description, typeSettings={"multiLineText": True})


def tile(name, visualization):
    query, question = read(name)
    content = {
        "version": "KqlItem/1.0",
        "query": query,
        "size": 0,
        "title": f"{name[:2]}: {question}",
        "noDataMessage": "No row.",
        # Every query has its own time: some look at more than the time range.
        "timeContext": {"durationMs": 0},
        "showExportToExcel": visualization == "table",
        "queryType": 0,
        "resourceType": COMPONENT,
        "visualization": visualization,
    }
    if visualization == "table":
        content["gridSettings"] = {"filter": True, "rowLimit": 1000}
    return {"type": 3, "content": content, "name": name}


def markdown(name, words):
    return {"type": 1, "content": {"json": words}, "name": name}


def group(name, items):
    return {
        "type": 12,
        "content": {"version": "NotebookGroup/1.0", "groupType": "editable", "items": items},
        "conditionalVisibility": {"parameterName": "Tab", "comparison": "isEqualTo", "value": name},
        "name": f"tab-{name}",
    }


def top():
    ranges = [{"durationMs": hours * HOUR} for hours in (1, 4, 12, 24, 72, 168, 336, 720)]
    tenants, _ = read(PARAMETER_QUERY)
    return parameters("parameters", [
        parameter("TimeRange", "Time range", 4, isRequired=True, value={"durationMs": 4 * HOUR},
                  typeSettings={"selectableValues": ranges, "allowCustom": True}),
        parameter("Tenant", "Tenant", 2, isRequired=True, value="*", query=tenants, queryType=0, resourceType=COMPONENT,
                  timeContext={"durationMs": 0}, typeSettings={"additionalResourceOptions": [], "showDefault": False}),
        text("ProvisioningRows", "Rows of the log", NO_ROWS, "Rows of a customer's provisioning log, as scimgate explain --log prints them"),
        parameter("Tab", "Tab", 1, isHiddenWhenLocked=True, value=TABS[0][0]),
    ])


def tabs():
    links = [
        {"id": identity(f"link/{name}"), "cellValue": "Tab", "linkTarget": "parameter", "linkLabel": label, "subTarget": name, "style": "link"}
        for name, label, _, _ in TABS
    ]
    return {"type": 11, "content": {"version": "LinkItem/1.0", "style": "tabs", "links": links}, "name": "tabs"}


def make():
    pasted = {
        "request": text("Reference", "Reference", NOTHING, "The end of an error's text"),
        "user": text("Subject", "Subject or Reference", NOTHING, "scim.subject, or the Reference of a request about that person"),
    }
    groups = []
    for name, _, introduction, tiles in TABS:
        items = [markdown(f"about-{name}", introduction)] if introduction else []
        items += [parameters(f"paste-{name}", [pasted[name]])] if name in pasted else []
        groups.append(group(name, items + [tile(*each) for each in tiles]))
    used = {query for _, _, _, tiles in TABS for query, _ in tiles} | {PARAMETER_QUERY} | NOT_SHOWN
    there = {path.stem for path in KQL.glob("*.kql")}
    assert used == there, f"queries without a place in the workbook, or places without a query: {sorted(used ^ there)}"
    return {
        "version": "Notebook/1.0",
        "items": [top(), tabs(), *groups],
        "fallbackResourceIds": ["Azure Monitor"],
        "$schema": "https://github.com/Microsoft/Application-Insights-Workbooks/blob/master/schema/workbook.json",
    }


def main():
    made = json.dumps(make(), indent=1, ensure_ascii=False) + "\n"
    if "--check" in sys.argv[1:]:
        if not WORKBOOK.exists() or WORKBOOK.read_text() != made:
            sys.exit("infra/workbook.json is not what infra/workbook.py makes of the queries: run it")
        return
    WORKBOOK.write_text(made)


if __name__ == "__main__":
    main()
