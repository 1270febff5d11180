"""Queries and alerts on made-up rows: where exactly they begin to find something. Rows that were really written are in recorded.py."""

from datetime import timedelta

from engine import NOW, Engine
from queries import HERE_VALUES, asked, fill

# Rows begin a minute after START: where every alert looks, too.
START, END = NOW - timedelta(minutes=13), NOW - timedelta(minutes=5)
VALUES = {name: value for name, value in HERE_VALUES.items() if name != "{Reference}"} | {"{TimeRange:start}": f"datetime({START.isoformat()})", "{TimeRange:end}": f"datetime({END.isoformat()})", "{Tenant}": "*"}

def request(verb, status, tenant="acme", times=1, route="/scim/{tenant}/Users", **dimensions):
    """A row of the handler's, or as many."""
    facts = {"scim.tenant": tenant, "http.request.method": verb, **{name.replace("__", "."): value for name, value in dimensions.items()}}
    row = {"name": f"{verb} {route}", "resultCode": str(status), "duration": 5.0, "itemCount": 1, "customDimensions": facts}
    return [("requests", row)] * times


def hosted(invocation, path="/scim/acme/Users", status=500):
    """A row of the Functions host's."""
    facts = {"InvocationId": invocation, "HttpMethod": "POST", "HttpPath": path}
    row = {"name": "ScimFunction", "resultCode": str(status), "duration": 7.0, "itemCount": 1, "customDimensions": facts, "cloud_RoleName": "func"}
    return [("requests", row)]


def stored(success, code, failure="", times=1):
    row = {"type": "Azure table", "target": "t", "name": "Query", "resultCode": code, "success": success, "duration": 9.0, "itemCount": 1,
           "customDimensions": {"scim.tenant": "acme", "error.type": failure}}
    return [("dependencies", row)] * times


def beat():
    return [("customMetrics", {"name": "process.uptime", "value": 30.0, "valueSum": 30.0, "customDimensions": {}})]


REFUSED = {"scim__error__rule": "wrong-type", "scim__error__attribute": "emails"}

# (fact, query, rows, columns, what comes out)
CASES = [
    ("every POST refused after an empty look-up is on its way into quarantine", "14_quarantine_risk",
     (request("GET", 200) + request("POST", 400, **REFUSED)) * 12, ("tenant", "failed", "risk"), [("acme", 12, "most writes fail")]),
    ("a conflict counts as well", "14_quarantine_risk",
     request("POST", 409, times=12), ("tenant", "failed"), [("acme", 12)]),
    ("a tenth of Entra's limit warns though most writes succeed", "14_quarantine_risk",
     request("PATCH", 400, times=500) + request("PATCH", 200, times=9500), ("failed", "risk"), [(500, "a tenth of 5,000 failures at 40 %")]),
    ("few failures among many writes are nothing", "14_quarantine_risk",
     request("PATCH", 400, times=40) + request("PATCH", 200, times=400), ("tenant",), []),
    ("a DELETE of what is gone, a search and a stranger's token are no failed writes", "14_quarantine_risk",
     request("DELETE", 404, times=50) + request("POST", 400, times=50, route="/scim/{tenant}/.search") + request("POST", 401, times=50),
     ("tenant",), []),
    ("what the doctor is refused is no failure of a customer's", "14_quarantine_risk",
     request("POST", 409, times=50, scim__probe="true", **REFUSED), ("tenant",), []),
    ("what the doctor is refused is no failure of a customer's", "17_failing_now",
     request("POST", 409, times=50, scim__probe="true", **REFUSED), ("tenant", "writes", "verdict"), [("acme", 50, "well")]),
    ("what the doctor is refused is no failure of a customer's", "19_refusals",
     request("POST", 409, times=50, scim__probe="true", **REFUSED), ("tenant",), []),
    ("failing tenants stand before healthy ones", "17_failing_now",
     request("GET", 200, tenant="calm", times=9) + request("GET", 503, tenant="ours") + request("POST", 400, tenant="theirs")
     + request("GET", 401, tenant="locked", times=3) + request("GET", 429, tenant="fast") + request("GET", 501, tenant="curious"),
     ("tenant", "verdict"),
     [("ours", "we fail"), ("locked", "token"), ("theirs", "refused"), ("fast", "throttled"), ("calm", "well"), ("curious", "well")]),
    ("a pause is an operator's doing, and no failure", "17_failing_now",
     request("POST", 503, scim__error__rule="tenant-paused", times=50) + request("GET", 200, tenant="calm"), ("tenant", "verdict"), [("calm", "well")]),
    ("nor does it lead into quarantine", "14_quarantine_risk",
     request("POST", 503, scim__error__rule="tenant-paused", times=5000) + request("POST", 201), ("tenant",), []),
    ("the host's row without one of the handler's is lost", "03_lost_between_host_and_handler",
     hosted("a") + hosted("b") + request("POST", 500, faas__invocation_id="b"), ("verdict", "n"), [("lost: no handler row", 1)]),
    ("what host and handler disagree about is shown", "03_lost_between_host_and_handler",
     hosted("b") + request("POST", 201, faas__invocation_id="b"), ("verdict",), [("host says 500, handler 201",)]),
    ("the host's own address and the probe are not lost", "03_lost_between_host_and_handler",
     hosted("a", "/") + hosted("b", "/health/ready"), ("verdict",), []),
    ("refusals by tenant, rule and attribute", "19_refusals",
     request("POST", 400, times=3, scim__subject="5a", **REFUSED) + request("POST", 400, tenant="other", **REFUSED),
     ("tenant", "rule", "attribute", "refusals", "subjects"), [("acme", "wrong-type", "emails", 3, 1), ("other", "wrong-type", "emails", 1, 0)]),
    ("storage by kind of failure", "09_dependency_failures",
     stored("False", "503", "http_503", times=2) + stored("True", "200", times=98), ("failure", "failed", "failedPct"), [("http_503", 2, 2.0), ("", 0, 0.0)]),
    ("an expired token names its credential", "22_unauthorized",
     request("GET", 401, times=2, scim__credential="c1", scim__error__rule="token-expired"), ("credential", "rule", "refused"), [("c1", "token-expired", 2)]),
    ("a token that ends soon, and not one that does not", "24_credential_expiry",
     request("GET", 200, scim__credential="c1", **{"scim__credential__expires": (NOW + timedelta(days=9, hours=1)).isoformat() + "Z"})
     + request("GET", 200, scim__credential="c2", **{"scim__credential__expires": (NOW + timedelta(days=90)).isoformat() + "Z"}),
     ("credential",), [("c1",)]),
    ("silence of every process is a loss of telemetry", "16_telemetry_health", [], ("what",), [("no heartbeat",)]),
    ("a process that reports and loses nothing is none", "16_telemetry_health", beat(), ("what",), []),
    ("who is answered 429 is told by tenant and reason", "13_throttles",
     request("POST", 429, times=2, scim__throttle__reason="tenant", scim__error__rule="too-many-requests", **{"http__response__header__retry-after": "3"})
     + request("POST", 429, tenant="other", scim__throttle__reason="tenant", scim__error__rule="too-many-requests") + request("POST", 503),
     ("tenant", "reason", "refused", "longestWaitSeconds"), [("acme", "tenant", 2, 3), ("other", "tenant", 1, None)]),
    ("what was sent about one person, refused or done, in its order", "23_one_user",
     request("GET", 200, scim__subject="0123456789abcdef", scim__results="0") + request("POST", 400, scim__subject="0123456789abcdef", **REFUSED)
     + request("POST", 201, scim__subject="fedcba9876543210") + request("POST", 201, scim__subject="0123456789abcdef"),
     ("operation", "resultCode", "rule"),
     [("GET /scim/{tenant}/Users", "200", ""), ("POST /scim/{tenant}/Users", "400", "wrong-type"), ("POST /scim/{tenant}/Users", "201", "")]),
    ("five failures of a tenant raise the alert", "failing-tenant", request("GET", 503, times=5) + request("GET", 200, times=995), ("tenant",), [("acme",)]),
    ("so do five of a hundred requests, however few they are", "failing-tenant", request("GET", 500) + request("GET", 200, times=19), ("tenant",), [("acme",)]),
    ("four among many do not, nor do 501 and refusals", "failing-tenant",
     request("GET", 503, times=4) + request("GET", 501, times=9) + request("POST", 400, times=9) + request("GET", 200, times=100), ("tenant",), []),
    ("ten calls that failed, one of a hundred, raise the alert", "storage-failures",
     stored("False", "503", "http_503", times=10) + stored("True", "200", times=990), ("failure",), [("http_503",)]),
    ("nine do not, however few calls there are", "storage-failures",
     stored("False", "503", "http_503", times=9) + stored("True", "200", times=91), ("failure",), []),
    ("nor do ten among very many", "storage-failures", stored("False", "0", "timeout", times=10) + stored("True", "200", times=1_200), ("failure",), []),
    ("a token that nobody knows raises no alert", "credential-refused",
     request("GET", 401, times=50, scim__error__rule="unauthorized"), ("tenant",), []),
    ("a host's row without a status of 500 and above is not lost", "lost-requests", hosted("a", status=201), ("verdict",), []),
    ("a pasted Reference finds its request among others", "15_one_request",
     request("POST", 400, **REFUSED) + request("GET", 200), ("resultCode", "rule"), [("400", "wrong-type")]),
]


def run(text, rows, columns):
    full = []
    for number, (table, row) in enumerate(rows):
        common = {"timestamp": START + timedelta(minutes=1, milliseconds=number), "operation_Id": f"{number:032x}", "cloud_RoleName": "scim.handler",
                  "cloud_RoleInstance": "i"}
        if table == "requests":
            common["id"] = f"{number:016x}"
        full.append((table, common | row))
    names, found = Engine(full).ask(fill(text, {"{Reference}": f"Reference {0:032x}-{0:016x}."}))
    return [tuple(row[names.index(column)] for column in columns) for row in found]


def problems(root):
    texts = asked(root, VALUES)
    for fact, query, rows, columns, expected in CASES:
        try:
            found = run(texts[query], rows, columns)
        except Exception as error:  # The engine's errors have no common type.
            found = f"{type(error).__name__}: {error}"
        yield f"{query}: {fact}", [] if found == expected else [f"expected {expected}", f"found    {found}"]
