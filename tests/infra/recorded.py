"""Queries and alerts on rows that scimgate itself wrote, and the imitated host beside it: `cargo test --test telemetry` leaves what
arrived at its imitated endpoint, a file for each test, where SCIMGATE_ROWS names a folder.

A case takes the rows of a test as they are, but moves them in time, as a query looks at the last minutes or days; all else that it
changes stands in it. What neither of the two writes (the availability test's rows, Azure's own tables) is made up.
"""

import copy
import json
import re
from datetime import datetime, timedelta
from typing import NamedTuple

import queries
from engine import NOW, Engine

# Tests, by what the rows are of.
CUSTOMERS = "questions::a_customer_who_fails_stands_beside_one_who_is_well"
EXPIRED = "envelopes::a_token_is_named_whether_it_still_works_or_not"
FULL = "outages::what_finds_no_room_is_counted_and_told"
HOSTED = "host::a_request_behind_the_host_has_two_rows_of_one_invocation"
INSIDE = "inside::what_goes_wrong_inside_has_rows"
KILLED = "host::a_handler_that_is_killed_before_its_answer_leaves_a_row_of_the_host_only"
LIFE = "envelopes::the_process_tells_of_its_start_its_state_and_its_end"
PERSON = "envelopes::one_users_requests_are_found_by_one_subject"
REPEATED = "outages::what_was_not_taken_is_sent_again"
THROTTLED = "contract::rows_have_the_names_that_are_documented_and_asked_for"
WELL = "host::rows_have_a_price_that_is_known"

# When the last row came: inside of what every alert looks at, late in its minute so that a test's rows stand in one.
LAST = NOW.replace(second=0) - timedelta(minutes=6, seconds=-50)
SINCE, UNTIL = LAST - timedelta(hours=2), LAST + timedelta(seconds=20)
NO_ROWS = 'datetime(null), "", "", ""'


class Row(NamedTuple):
    table: str
    fields: dict

    def __getitem__(self, name):
        return self.fields[name] if name in self.fields else self.fields["customDimensions"].get(name)


class Case(NamedTuple):
    fact: str
    # A query's number, or an alert's name.
    asks: str
    # A test's name, or a function of all tests' rows.
    of: object
    columns: tuple
    finds: list
    # What the workbook's parameters hold; texts, or functions of the rows.
    given: dict = {}
    # That it finds nothing wrong where nothing is: each query and each alert has a case of either kind.
    is_calm: bool = False


def milliseconds(duration):
    days, hours, minutes, seconds = re.fullmatch(r"(?:(\d+)\.)?0?(\d+):(\d+):([\d.]+)", duration).groups()
    return ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60_000 + float(seconds) * 1_000


def arrived(envelope):
    """The row that Application Insights makes of an envelope: its columns are general knowledge."""
    tags, data = envelope["tags"], envelope["data"]["baseData"]
    fields = {
        "timestamp": datetime.fromisoformat(envelope["time"].replace("Z", "+00:00")).replace(tzinfo=None),
        "operation_Id": tags.get("ai.operation.id", ""), "operation_ParentId": tags.get("ai.operation.parentId", ""),
        "cloud_RoleName": tags["ai.cloud.role"], "cloud_RoleInstance": tags["ai.cloud.roleInstance"],
        "application_Version": tags.get("ai.application.ver", ""), "itemCount": round(100 / envelope.get("sampleRate", 100)),
        "customDimensions": data.get("properties", {}),
    }
    call = {"id": data.get("id"), "name": data.get("name"), "success": str(data.get("success"))}
    match envelope["data"]["baseType"]:
        case "RequestData":
            return Row("requests", fields | call | {"resultCode": data["responseCode"], "duration": milliseconds(data["duration"])})
        case "RemoteDependencyData":
            own = {name: data.get(name, "") for name in ("type", "target", "data")}
            return Row("dependencies", fields | call | own | {"resultCode": data.get("resultCode", ""), "duration": milliseconds(data["duration"])})
        case "ExceptionData":
            thrown = data["exceptions"][0]
            return Row("exceptions", fields | {"type": thrown["typeName"], "outerMessage": thrown["message"], "innermostMessage": thrown["message"]})
        case "MessageData":
            return Row("traces", fields | {"message": data["message"]})
        case "EventData":
            return Row("customEvents", fields | {"name": data["name"]})
        case "MetricData":
            metric = data["metrics"][0]
            value = metric["value"]
            return Row("customMetrics", fields | {"name": metric["name"], "value": value, "valueSum": value, "valueMax": metric.get("max", value)})
    raise ValueError(envelope["data"]["baseType"])


def kept(folder, test):
    """A test's rows, the last of them at LAST."""
    rows = [arrived(json.loads(line)) for line in (folder / f"{test}.jsonl").read_text().splitlines()]
    return moved(rows, LAST - max(row["timestamp"] for row in rows))


def moved(rows, by):
    """The same rows at another time."""
    rows = copy.deepcopy(rows)
    for row in rows:
        row.fields["timestamp"] += by
    return rows


def of(rows, table="requests", **wanted):
    """Those of them with these values; none at all would prove nothing."""
    wanted = {name.replace("__", "."): value for name, value in wanted.items()}
    found = [row for row in rows if row.table == table and all(row[name] == value for name, value in wanted.items())]
    assert found, f"no row of {table} has {wanted}"
    return found


def beat(all, seconds, uptime, **facts):
    """A process's sign of life, so many seconds before LAST."""
    first = of(all[LIFE], "customMetrics", name="process.uptime")[0]
    row, = moved([first], LAST - first["timestamp"] - timedelta(seconds=seconds))
    row.fields["value"] = float(uptime)
    row.fields["customDimensions"].update({name.replace("__", "."): value for name, value in facts.items()})
    return row


def repeated(rows, since, until):
    """The same rows every four hours, from so many hours before LAST until so many."""
    return [row for hours in range(since, until - 1, -4) for row in moved(rows, -timedelta(hours=hours))]


def habit(all, read_until, written_until):
    """A tenant that asked and wrote every four hours for eight days, and then asked no more, or wrote no more."""
    asked, wrote = (of(all[CUSTOMERS], scim__tenant="calm", **{"http__request__method": verb}) for verb in ("GET", "POST"))
    return repeated(asked, 192, read_until) + repeated(wrote, 192, written_until)


def from_the_lost_one_on(all):
    """Of the handler that was killed: what another change of the same second would hide."""
    lost = the_lost_one(all[KILLED])
    return [row for row in all[KILLED] if row["timestamp"] >= lost["timestamp"]]


def without_its_row(all):
    """Of the same handler, as if it had been killed before it told of an answer."""
    return [row for row in all[KILLED] if row["cloud_RoleName"] != "scim.handler" or row["resultCode"] != "201"]


def too_early(all):
    """As if a process had been asked before it was ready, as a slow machine's is."""
    probe, = copy.deepcopy(of(all[LIFE], url__path="/health/ready")[:1])
    probe.fields["resultCode"] = "503"
    return [*all[LIFE], probe]


def not_probes(rows):
    """Without requests that ask whether the process is ready, of which there are as many as it took."""
    return [row for row in rows if row.table != "requests" or "/health/" not in (row["url.path"] or row["HttpPath"] or "")]


def not_slow(rows):
    """Without calls that took too long for a slow machine."""
    return [row for row in rows if row.table != "dependencies" or row["error.type"] != "timeout"]


def measured(all):
    """Of the process whose queues were full; its thousands of requests are not asked for."""
    return [row for row in all[FULL] if row.table == "customMetrics"]


def the_lost_one(rows):
    return of(rows, resultCode="500")[0]


def pasted(*entries):
    """Rows of a customer's log, as scimgate explain --log prints them."""
    return ", ".join(f'datetime({at.isoformat()}), "{verb}", "{change}", "502"' for at, verb, change in entries)


def reference(row):
    return f"An error's text. Reference {row['operation_Id']}-{row['id']}."


def outside(success):
    fields = {"timestamp": LAST, "name": "scimgate", "location": "West Europe", "success": success, "message": "503", "operation_Id": "1"}
    return [Row("availabilityResults", fields)]


def used(gigabytes):
    return [Row("Usage", {"TimeGenerated": LAST, "DataType": "AppRequests", "Quantity": gigabytes * 1_000, "IsBillable": True})]


STOPPED = [Row("_LogOperation", {"TimeGenerated": LAST, "Category": "Ingestion", "Detail": "OverQuota"})]
CALM = {"is_calm": True}

ABOUT_PERSON = [
    ("DELETE /scim/{tenant}/Users/{id}", "204"),
    ("GET /scim/{tenant}/Users", "200"),
    ("GET /scim/{tenant}/Users/{id}", "200"),
    ("PATCH /scim/{tenant}/Users/{id}", "200"),
    ("PATCH /scim/{tenant}/Users/{id}", "400"),
    ("POST /scim/{tenant}/Users", "201"),
    ("POST /scim/{tenant}/Users", "409"),
    ("PUT /scim/{tenant}/Users/{id}", "400"),
]
WHO_IT_IS = {"{Subject}": lambda rows: of(rows, resultCode="409")[0]["scim.subject"]}
CASES = [
    Case("who asked stands in the list, and \"all\" above them", "00", CUSTOMERS, ("value",), [("*",), ("acme",), ("calm",)]),
    Case("nobody asked", "00", LIFE, ("value",), [("*",)], **CALM),
    Case("who fails, how, and what it sends stand beside who is well", "01", CUSTOMERS,
         ("tenant", "failed", "refusedWrites", "maxInFlight", "maxMembers"), [("acme", 6, 12, 3, 1), ("calm", 0, 0, 1, None)]),
    Case("who is well failed at nothing", "01", WELL, ("tenant", "failed", "refusedWrites"), [("acme", 0, 0)], **CALM),
    Case("who gave up before the answer", "01", INSIDE, ("tenant", "cancelled"), [("acme", 1)]),
    Case("those who fail on one side, those who are well on the other", "02", CUSTOMERS, ("side", "tenants"), [("failing", 1), ("healthy", 1)]),
    Case("nobody fails", "02", WELL, ("side", "tenants"), [("healthy", 1)], **CALM),
    Case("the host's row of a handler that was killed is lost", "03", KILLED, ("verdict", "n"), [("lost: no handler row", 1)]),
    Case("what was answered is not lost, though nobody told of it", "03", lambda all: not_probes(without_its_row(all)), ("verdict", "n"),
         [("answered: no handler row", 1), ("lost: no handler row", 1)]),
    Case("the same", "lost-requests", KILLED, ("verdict", "n"), [("lost: no handler row", 1)]),
    Case("what both have is not lost", "03", HOSTED, ("verdict",), [], **CALM),
    Case("nor are many", "lost-requests", WELL, ("verdict",), [], **CALM),
    Case("a row of the customer's log reached the host, or nobody", "04", from_the_lost_one_on, ("changeId", "verdict"),
         [("a", "reached the host, not the application"), ("b", "reached neither")],
         {"{Tenant}": "acme", "{ProvisioningRows}": lambda rows: pasted((the_lost_one(rows)["timestamp"], "POST", "a"), (the_lost_one(rows)["timestamp"], "PATCH", "b"))}),
    Case("a row of the customer's log reached the application", "04", HOSTED, ("changeId", "verdict"), [("a", "reached the application: open the operation")],
         {"{Tenant}": "acme", "{ProvisioningRows}": lambda rows: pasted((of(rows, resultCode="200", HttpMethod="GET")[0]["timestamp"], "GET", "a"))}, **CALM),
    Case("two signs of life of one process with two minutes between them", "05", lambda all: [beat(all, 120, 30), beat(all, 0, 150)],
         ("what", "seconds"), [("frozen", 120.0)]),
    Case("another process with the same number, as in a container", "05", lambda all: [beat(all, 30, 900), beat(all, 0, 1)], ("what",), [("replaced",)]),
    Case("no sign of life behind the last one", "05", lambda all: [beat(all, 600, 900), beat(all, 0, 1, process__pid="1")],
         ("what",), [("fell silent",)]),
    Case("a sign of life every 30 s", "05", lambda all: [beat(all, 60, 30), beat(all, 30, 60), beat(all, 0, 90)], ("what",), [], **CALM),
    Case("what storage that hangs made slow stands first", "06", INSIDE, ("operation", "failed"),
         [("GET /scim/{tenant}/Users/{id}", 2), ("POST /scim/{tenant}/Users", 1)]),
    Case("nothing was slow", "06", WELL, ("tenant", "overDeadline", "failed"), [("acme", 0, 0)], **CALM),
    Case("writes by their size, and how many of them were refused", "07", CUSTOMERS, ("operation", "size", "refused"),
         [("POST /scim/{tenant}/Groups", "1: to 1 KiB", 0), ("POST /scim/{tenant}/Users", "1: to 1 KiB", 12)]),
    Case("what has no body has no size", "07", HOSTED, ("operation",), [], **CALM),
    Case("three at one moment", "08", CUSTOMERS, ("instance", "most"), [("instance-7", 3)]),
    Case("one alone", "08", lambda all: of(all[CUSTOMERS], resultCode="201")[:1], ("instance", "most"), [("instance-7", 1)], **CALM),
    Case("calls that broke off, beside those that did not", "09", lambda all: not_slow(all[CUSTOMERS]), ("failure", "has failed"), [("", True), ("connection", True)]),
    Case("the same", "storage-failures", CUSTOMERS, ("failure",), [("connection",)]),
    Case("no call failed", "09", WELL, ("failed",), [(0,)], **CALM),
    Case("nor does it raise the alert", "storage-failures", WELL, ("failure",), [], **CALM),
    Case("sockets by state, and open files", "10", LIFE, ("line", "has most"),
         [(f"{what} instance-7", True) for what in ("close_wait", "established", "listen", "open files", "syn_sent", "time_wait")]),
    Case("nothing was measured", "10", HOSTED, ("line",), [], **CALM),
    Case("failures beside what the process had then", "11",
         lambda all: of(all[CUSTOMERS], resultCode="503", scim__tenant="acme")[-1:] + [row for row in all[CUSTOMERS] if row.table == "customMetrics"],
         ("failed", "has cpu", "has memoryMiB", "has schedulerLagMs"), [(1, True, True, True)]),
    Case("the same without failures", "11", lambda all: not_probes(all[REPEATED]), ("failed", "has memoryMiB"), [(0, True)], **CALM),
    Case("two starts, and a request that only the host had", "12", KILLED, ("event", "hostOnlyAround"), [("ProcessStarted", 1)]),
    Case("a start and an end beside which nothing failed", "12", LIFE, ("event", "failedAround", "hostOnlyAround"),
         [("ProcessStarted", 0, 0), ("ShutdownFinished", 0, 0), ("ShutdownStarted", 0, 0)], **CALM),
    Case("it was asked before it was ready", "12", too_early, ("event", "failedAround"), [("ProcessStarted", 0), ("ShutdownFinished", 0), ("ShutdownStarted", 0)], **CALM),
    Case("who asks too often, and whose share was used up", "13", THROTTLED, ("tenant", "rule", "reason"), [("acme", "too-many-requests", "tenant")]),
    Case("nobody asks too often", "13", WELL, ("tenant",), [], **CALM),
    Case("every POST refused after an empty look-up", "14", CUSTOMERS, ("tenant", "failed", "risk"), [("acme", 12, "most writes fail")]),
    Case("the same", "quarantine-risk", CUSTOMERS, ("tenant", "failed"), [("acme", 12)]),
    Case("no write failed", "14", WELL, ("tenant",), [], **CALM),
    Case("nor does it raise the alert", "quarantine-risk", WELL, ("tenant",), [], **CALM),
    Case("all that is known of a panic, by the Reference in its answer", "15", INSIDE, ("source_table", "tenant"),
         [("exceptions", "acme"), ("requests", "acme"), ("traces", "acme")], {"{Reference}": lambda rows: reference(of(rows, resultCode="500")[0])}),
    Case("a Reference that is nobody's", "15", INSIDE, ("source_table",), [], {"{Reference}": "Reference 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"}, **CALM),
    Case("rows that found no room", "16", measured, ("what", "why", "has lost"), [("dropped", "queue_full", True)]),
    Case("an upload that was not taken", "16", REPEATED, ("what", "lost"), [("upload failed", 1.0)]),
    Case("nothing was measured at all", "16", HOSTED, ("what",), [("no heartbeat",)]),
    Case("a process that reports and loses nothing", "16", LIFE, ("what",), [], **CALM),
    Case("rows that found no room", "telemetry-loss", measured, ("what",), [("dropped",)]),
    Case("an upload that was not taken", "telemetry-loss", REPEATED, ("what",), [("upload failed",)]),
    Case("nothing was measured at all", "telemetry-loss", HOSTED, ("what",), [("no heartbeat",)]),
    Case("a process that reports and loses nothing", "telemetry-loss", LIFE, ("what",), [], **CALM),
    Case("rows that found no room", "telemetry-loss without a heartbeat", measured, ("what",), [("dropped",)]),
    Case("no instance is always there, so silence is nothing", "telemetry-loss without a heartbeat", HOSTED, ("what",), [], **CALM),
    Case("who fails stands apart from who is well", "17", CUSTOMERS, ("tenant", "verdict"), [("acme", "we fail"), ("calm", "well")]),
    Case("the same, and nobody else", "failing-tenant", CUSTOMERS, ("tenant", "failed"), [("acme", 6)]),
    Case("all is well", "17", WELL, ("tenant", "verdict"), [("acme", "well")], **CALM),
    Case("all is well", "failing-tenant", WELL, ("tenant",), [], **CALM),
    Case("each part on which requests die", "18",
         lambda all: all[KILLED] + [beat(all, 120, 30), beat(all, 0, 150)] + outside("0"), ("part", "n"),
         [("before the host", 1), ("from outside", 1), ("host to handler", 1), ("instance", 1)],
         {"{ProvisioningRows}": pasted((LAST - timedelta(minutes=30), "PATCH", "a"))}),
    Case("no request died", "18", lambda all: all[HOSTED] + all[LIFE] + outside("1"), ("part",), [],
         {"{ProvisioningRows}": lambda rows: pasted((of(rows, HttpMethod="GET")[0]["timestamp"], "GET", "a"))}, **CALM),
    Case("what was refused, whose and why; all of one person", "19", lambda all: not_probes(all[CUSTOMERS]), ("tenant", "rule", "attribute", "refusals", "subjects"),
         [("acme", "storage-unavailable", "", 6, 1), ("acme", "wrong-type", "active", 12, 1)]),
    Case("nothing was refused", "19", lambda all: not_probes(all[WELL]), ("rule",), [], **CALM),
    Case("an attribute that nothing keeps", "20", CUSTOMERS, ("tenant", "attribute", "requests"), [("acme", "favouriteColour", 1)]),
    Case("everything is kept", "20", WELL, ("attribute",), [], **CALM),
    Case("who asked every four hours and no more for two days", "21", lambda all: habit(all, 48, 48), ("tenant", "verdict"), [("calm", "silent")]),
    Case("who goes on asking and writes no more", "21", lambda all: habit(all, 0, 96), ("tenant", "verdict"), [("calm", "no writes")]),
    Case("who goes on as ever", "21", lambda all: habit(all, 0, 0), ("tenant", "verdict"), [("calm", "as ever")], **CALM),
    Case("a token that has expired and one that was revoked are named", "22", EXPIRED, ("tenant", "has credential", "rule", "refused"),
         [("acme", True, "token-expired", 1), ("acme", True, "token-revoked", 1)]),
    Case("the same", "credential-refused", EXPIRED, ("tenant", "rule"), [("acme", "token-expired"), ("acme", "token-revoked")]),
    Case("no token was refused", "22", CUSTOMERS, ("tenant",), [], **CALM),
    Case("nor does it raise the alert", "credential-refused", CUSTOMERS, ("tenant",), [], **CALM),
    Case("all requests about one person, done and refused", "23", PERSON, ("operation", "resultCode"), ABOUT_PERSON, WHO_IT_IS),
    Case("the same, as it is printed", "history", PERSON, ("operation", "resultCode"), ABOUT_PERSON, WHO_IT_IS),
    Case("nobody has this subject", "23", PERSON, ("operation",), [], {"{Subject}": "0123456789abcdef"}, **CALM),
    Case("the same, as it is printed", "history", PERSON, ("operation",), [], {"{Subject}": "0123456789abcdef"}, **CALM),
    Case("a token of nine days, and not one of a year", "24", CUSTOMERS, ("tenant", "has credential"), [("acme", True)]),
    Case("the same", "credential-expiring", CUSTOMERS, ("tenant",), [("acme",)]),
    Case("tokens that work for long", "24", lambda all: of(all[CUSTOMERS], scim__tenant="calm") + all[WELL], ("tenant",), [], **CALM),
    Case("nor does it raise the alert", "credential-expiring", lambda all: of(all[CUSTOMERS], scim__tenant="calm") + all[WELL], ("tenant",), [], **CALM),
    Case("nearly the day's ration, and more than it", "25", lambda _: used(4.5) + STOPPED, ("what", "gb"), [("at the cap", 5.0), ("near the cap", 4.5)]),
    Case("the same", "daily-cap", lambda _: used(4.5), ("what",), [("near the cap",)]),
    Case("a day like others", "25", lambda _: used(1.0), ("what",), [], **CALM),
    Case("writes that were done, and none of twelve that were refused", "26", CUSTOMERS, ("tenant", "writes"), [("acme", 2), ("calm", 1)]),
    Case("who asked, and who was refused", "26", lambda all: of(all[CUSTOMERS], resultCode="200") + of(all[CUSTOMERS], resultCode="400"), ("tenant",), [], **CALM),
    Case("nor does it raise the alert", "daily-cap", lambda _: used(1.0), ("what",), [], **CALM),
]


def run(text, case, all):
    rows = all[case.of] if isinstance(case.of, str) else case.of(all)
    given = {"{Tenant}": "*", "{ProvisioningRows}": NO_ROWS, **case.given}
    text = queries.fill(text, {name: value(rows) if callable(value) else value for name, value in given.items()})
    names, found = Engine((row.table, row.fields) for row in rows).ask(text)
    at = {name: place for place, name in enumerate(names)}
    cell = lambda row, name: row[at[name[4:]]] not in (None, "") if name.startswith("has ") else row[at[name]]
    return sorted({tuple(cell(row, name) for name in case.columns) for row in found}, key=str)


def tests():
    """The tests whose rows are asked for."""
    return sorted(value for name, value in globals().items() if name.isupper() and isinstance(value, str) and "::" in value)


def problems(root, folder, only=None, others=()):
    """What is wrong with each case, or only with those of one query; of the files' queries and of others by name."""
    given = {"{TimeRange:start}": f"datetime({SINCE.isoformat()})", "{TimeRange:end}": f"datetime({UNTIL.isoformat()})", "{TimeRange:grain}": "1d",
             "{DailyCapGb}": "5"}
    texts = {name[:2] if name[0].isdigit() else name: text for name, text in queries.asked(root, given).items()} | dict(others)
    all = {test: kept(folder, test) for test in tests()}
    for case in CASES:
        if only and case.asks != only:
            continue
        try:
            found = run(texts[case.asks], case, all)
        except Exception as error:  # The engine's errors have no common type.
            found = f"{type(error).__name__}: {error}"
        wrong = [] if found == sorted(case.finds, key=str) else [f"expected {case.finds}", f"found    {found}"]
        yield f"{case.asks} on rows that were written: {case.fact}", wrong
    either = {(name, is_calm) for name in texts for is_calm in (False, True)} - {(case.asks, case.is_calm) for case in CASES}
    yield "each query and each alert has a case that finds something, and one that does not", [f"{name}, is_calm {calm}" for name, calm in sorted(either)]
