"""Every Kusto query that scimgate ships, wherever it stands, and what is checked of them."""

import json
import os
import pathlib
import re
import subprocess
import tempfile

import bicep

HERE_VALUES = {
    "{TimeRange:start}": "datetime(2026-11-22)",
    "{TimeRange:end}": "datetime(2026-11-23)",
    "{TimeRange:grain}": "5m",
    "{Tenant}": "acme",
    "{ProvisioningRows}": 'datetime(2026-11-22 10:42:07), "PATCH", "00000000-0000-0000-0000-000000000000", "502"',
    "{Reference}": "Reference 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
    "{Subject}": "0123456789abcdef",
    "{DailyCapGb}": "5",
}
# Tables of Log Analytics; a query that reads one of them runs on the workspace.
WORKSPACE = re.compile(r"^(let \w+ = )?(Usage|_LogOperation|AGWFirewallLogs|AzureDiagnostics)$", re.M)
KEYS = re.compile(r'customDimensions(?:\["([^"]+)"\]|\.(\w+))')
NAMES = re.compile(r'\bname (?:== ("[^"]*")|in \(([^)]*)\))')

# A text for each query that explain prints.
EXPLAINED = [
    "Something. Reference 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
    "502 upstream connect error or disconnect/reset before headers. reset reason: protocol error",
    "503 upstream connect error or disconnect/reset before headers. reset reason: overflow",
    "<h1>403 Forbidden</h1> Microsoft-Azure-Application-Gateway/v2",
    "The request is blocked.",
]


def fill(text, values=None):
    for name, value in (values or HERE_VALUES).items():
        text = text.replace(name, value)
    return text


def of_files(root):
    for path in sorted((root / "infra" / "kql").glob("*.kql")):
        yield f"infra/kql/{path.name}", fill(path.read_text())


def of_workbook(root):
    def search(value, place):
        if isinstance(value, dict):
            if isinstance(value.get("query"), str):
                yield f"infra/workbook.json {place}", fill(value["query"])
            for key, inner in value.items():
                yield from search(inner, value.get("name", place) if key == "content" else place)
        elif isinstance(value, list):
            for inner in value:
                yield from search(inner, inner.get("name", place) if isinstance(inner, dict) else place)

    yield from search(json.loads((root / "infra" / "workbook.json").read_text()), "")


def alerts(root):
    """The rules of alerts.bicep, as they are written there."""
    file = bicep.File(root / "infra" / "modules" / "alerts.bicep")
    return file.section("variables").get("rules", {}).get("value", [])


def texts(value):
    """The strings that a value may be."""
    if isinstance(value, str):
        return [value]
    operands = value["operator"]["operands"]
    return [operands["true_value"], operands["false_value"]]


def of_alerts(root):
    for rule in alerts(root):
        path = root / "infra" / "modules" / rule["query"]["function"]["parameters"]["file_path"]
        values = {
            "{TimeRange:start}": rule["from"], "{TimeRange:end}": rule["to"], "{TimeRange:grain}": "5m", "{Tenant}": "*", "{DailyCapGb}": "5",
        }
        for only in texts(rule["only"]):
            yield f"alert {rule['name']}", f"{fill(path.read_text(), values)}\n{only}"


def asked(root, values):
    """Every query by its name and every alert by its own, filled with values where Azure would; a case fills the rest."""
    found = {path.stem: fill(path.read_text(), values) for path in sorted((root / "infra" / "kql").glob("*.kql"))}
    for place, text in of_alerts(root):
        name = place.removeprefix("alert ")
        # Its second form is that of a deployment without an instance that is always there.
        found[f"{name} without a heartbeat" if name in found else name] = text
    return found


def of_history(executable):
    """What `history` prints about one person, who is left open."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SCIMGATE_")}
    with tempfile.TemporaryDirectory() as folder:
        for words in (["tenant", "create", "acme"], ["history", "acme", "bjensen@example.com", "--json"]):
            told = subprocess.run([executable, *words], check=True, capture_output=True, text=True, timeout=60, cwd=folder, env=own).stdout
    query = json.loads(told)["query"]
    subjects = ", ".join(f'"{subject}"' for subject in json.loads(told)["subjects"])
    assert query.count(f"({subjects})") == 2, query
    return query.replace(subjects, '"{Subject}"')


def of_explain(executable, problems):
    """What the executable prints; every query it knows must come up."""
    seen = {}
    for text in EXPLAINED:
        command = [executable, "explain", "--json", "--at", "2026-11-22T10:42:07Z", "--tenant", "acme", text]
        answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)
        for query in answer["queries"]:
            seen[query["shows"]] = query["query"]
    log = pathlib.Path(__file__).parent.parent / "fixtures" / "provisioning" / "failing.json"
    command = [executable, "explain", "--json", "--tenant", "acme", "--log", log]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)
    seen["04"] = answer["logs"][0]["notReached"]["query"]
    if len(seen) < 9:
        problems.append(f"explain printed {len(seen)} different queries, and knows 9: {sorted(seen)}")
    return [(f"explain: {title}", text) for title, text in seen.items()]


def read_by_kusto(queries, library, script):
    """What Microsoft's parser and binder say: a problem for each error, and the columns of each result."""
    asked = [{"name": name, "text": text, "schema": "workspace" if WORKSPACE.search(text) else "insights"} for name, text in queries]
    done = subprocess.run(["node", script, library], input=json.dumps(asked), check=True, capture_output=True, text=True)
    answers = json.loads(done.stdout)
    return [error for answer in answers for error in answer["errors"]], {answer["name"]: answer["columns"] for answer in answers}


def contract_problems(queries, contract):
    """Attributes, events and metrics that nobody writes: the binder takes any key of a dynamic column."""
    attributes = {*contract["attributes"], *contract["host"]}
    names = {*contract["events"], *contract["metrics"]}
    used = set()
    for place, text in queries:
        code = re.sub(r"//.*", "", text)
        for key in (first or second for first, second in KEYS.findall(code)):
            used.add(key)
            if key not in attributes:
                yield f"{place}: no row has customDimensions[\"{key}\"]"
        for name in re.findall(r'"([^"]+)"', " ".join(map("".join, NAMES.findall(code)))):
            used.add(name)
            if name not in names:
                yield f"{place}: there is no event or metric {name}"
        for place_holder in re.findall(r"\{[A-Za-z:]+\}", code):
            yield f"{place}: nothing fills {place_holder}"
    for name in sorted((attributes | names) - used):
        yield f"contract.json: nothing asks for {name}"


def alert_problems(root, columns):
    for rule in alerts(root):
        name, dimension = rule["name"], rule["dimension"]
        if dimension and dimension not in columns.get(f"alert {name}", []):
            yield f"alert {name}: its query has no column {dimension}"
        query = rule["query"]["function"]["parameters"]["file_path"]
        is_workspace = bool(WORKSPACE.search((root / "infra" / "modules" / query).read_text()))
        if (rule["scope"] == "workspace") != is_workspace:
            yield f"alert {name}: its query does not run on {rule['scope']}"
