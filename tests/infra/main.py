#!/usr/bin/env python3
"""The stage `infra` of ./test: what can be said without Azure of infra/ and of all that deploys it. Arguments: the executable, where
the Kusto library is, and a folder with the rows of tests/telemetry (recorded.py). `--tests` names those tests instead.

Then it plants one mistake after the other into a copy, and each must be found.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import bicep
import commands
import data
import queries
import recorded
import shipping

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# App settings of the Functions host and of Azure's libraries.
HOST_SETTINGS = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING", "APPLICATIONINSIGHTS_CONNECTION_STRING", "AzureWebJobsStorage__accountName",
    "AzureWebJobsStorage__clientId", "AzureWebJobsStorage__credential",
}
# Settings of scimgate that a deployment leaves alone, and why.
LEFT_OUT = {
    "SCIMGATE_ADDRESS": "the host reaches it on loopback",
    "SCIMGATE_BOOTSTRAP_TENANT": "tenants are made from a laptop",
    "SCIMGATE_BOOTSTRAP_TOKEN": "no secret stands in an app setting",
    "SCIMGATE_DRAIN": "the host does not wait for the end of a process",
    "SCIMGATE_PORT": "the host says which",
    "SCIMGATE_TABLE": "the account is scimgate's own",
    "SCIMGATE_TABLES_CONNECTION": "shared keys are off",
    "SCIMGATE_TRUST_PROXY": "always on under the host",
}
# Longest text that loadTextContent takes.
MAX_LOADED = 131_072
TILES = 3
ITEM_TYPES = {1, 3, 9, 11, 12}


class Infra:
    """infra/ below a root, and everything that is wrong with it."""

    def __init__(self, root):
        self.root = root
        self.files = {path.resolve(): bicep.File(path) for path in sorted((root / "infra").rglob("*.bicep"))}

    def syntax(self):
        for file in self.files.values():
            yield from file.problems

    def names(self):
        for file in self.files.values():
            yield from bicep.name_problems(file)
            yield from bicep.module_problems(file, self.files)

    def resources(self):
        for file in self.files.values():
            yield from bicep.resource_problems(file)

    def loaded(self):
        for file in self.files.values():
            for name in re.findall(r"loadTextContent\('([^']+)'\)", file.source.decode()):
                path = file.path.parent / name
                if not path.is_file():
                    yield f"{file.path.name}: {name} is not there"
                elif len(path.read_text()) > MAX_LOADED:
                    yield f"{file.path.name}: {name} is longer than loadTextContent takes"

    def known_settings(self):
        return set(re.findall(r'env = "(\w+)"', (self.root / "src" / "config.rs").read_text()))

    def settings(self):
        known = self.known_settings()
        main, app = (self.files.get((self.root / "infra" / name).resolve()) for name in ("main.bicep", "modules/app.bicep"))
        given = main.section("modules").get("app", {})
        named = set(bicep.plain(given.get("config", {})).get("params", {}).get("settings", {}))
        for resource in app.section("resources").values():
            if resource["type"] == "Microsoft.Web/sites/config":
                named |= {path.split(".")[1] for path in bicep.properties(resource["config"]) if path.startswith("properties.")}
        for name in sorted(named - known - HOST_SETTINGS):
            yield f"{name} is a setting of nobody"
        ours = {name for name in known if name.startswith("SCIMGATE_")}
        for name in sorted(ours - named - set(LEFT_OUT)):
            yield f"{name} is not set, and main.py does not say why"
        for name in sorted(set(LEFT_OUT) - ours):
            yield f"{name} is left out, and does not exist"

    def parameters(self):
        given = json.loads((self.root / "infra" / "main.parameters.json").read_text())["parameters"]
        declared = self.files[(self.root / "infra" / "main.bicep").resolve()].section("parameters")
        for name in sorted(set(given) - set(declared)):
            yield f"main.parameters.json: main.bicep has no parameter {name}"
        for name in sorted(name for name, parameter in declared.items() if parameter["default"] is None and name not in given):
            yield f"main.parameters.json: {name} is missing"

    def azd(self):
        services = re.findall(r"^  (\w+):$", (self.root / "azure.yaml").read_text(), re.M)
        tagged = re.findall(r"'azd-service-name': '(\w+)'", (self.root / "infra" / "modules" / "app.bicep").read_text())
        if services != tagged:
            yield f"azure.yaml: services {services}, and app.bicep is tagged {tagged}"

    def workbook(self):
        script = self.root / "infra" / "workbook.py"
        done = subprocess.run([sys.executable, "-B", script, "--check"], capture_output=True, text=True)
        if done.returncode != 0:
            yield done.stderr.strip().splitlines()[-1]
        book = json.loads((self.root / "infra" / "workbook.json").read_text())
        if book["version"] != "Notebook/1.0" or not book.get("fallbackResourceIds"):
            yield "workbook.json: no version or no resource"
        yield from self.items(book["items"])

    def items(self, items):
        """The structure of a workbook: kinds, names, parameters that are defined where they are used, three tiles in the first tab."""
        top = {parameter["name"] for item in items if item["type"] == 9 for parameter in item["content"]["parameters"]}
        groups = [item for item in items if item["type"] == 12]
        tabs = [link["subTarget"] for item in items if item["type"] == 11 for link in item["content"]["links"]]
        every = items + [item for group in groups for item in group["content"]["items"]]
        names = [item["name"] for item in every]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"workbook.json: two items are called {name}"
        for item in every:
            if item["type"] not in ITEM_TYPES:
                yield f"workbook.json: {item['name']} has the type {item['type']}"
        if tabs != [group["conditionalVisibility"]["value"] for group in groups]:
            yield f"workbook.json: tabs {tabs} are not the groups"
        for group in groups:
            inner = group["content"]["items"]
            own = {parameter["name"] for item in inner if item["type"] == 9 for parameter in item["content"]["parameters"]}
            for item in inner:
                used = set(re.findall(r"\{([A-Z]\w*)(?::\w+)?\}", item["content"].get("query", "")))
                for name in sorted(used - own - top):
                    yield f"workbook.json: {item['name']} uses {name}, which the tab does not have"
        if [item["type"] for item in groups[0]["content"]["items"]] != [3] * TILES:
            yield f"workbook.json: the first tab has not {TILES} tiles and nothing else"

    def documents(self):
        """operate.md speaks of each tile and each alert."""
        text = (self.root / "docs" / "operate.md").read_text()
        for path in sorted((self.root / "infra" / "kql").glob("*.kql")):
            if f"| {path.stem[:2]} |" not in text and not path.stem.startswith("00"):
                yield f"docs/operate.md has no row for {path.name}"
        alerts = {rule["name"] for rule in queries.alerts(self.root)} | {"not-ready"}
        headings = set(re.findall(r"^### ([\w-]+)$", text, re.M))
        for name in sorted(alerts ^ headings):
            yield f"docs/operate.md: {name} is an alert without a playbook, or the reverse"

    def commands(self):
        yield from commands.problems(self.root, self.files, self.known_settings() | HOST_SETTINGS)

    def kusto(self, executable, library):
        found = []
        asked = [
            *queries.of_files(self.root), *queries.of_workbook(self.root), *queries.of_alerts(self.root),
            *([*queries.of_explain(executable, found), ("history", queries.fill(queries.of_history(executable)))] if executable else []),
        ]
        errors, columns = queries.read_by_kusto(asked, library, HERE / "kusto.js")
        contract = json.loads((HERE / "contract.json").read_text())
        return [*found, *errors, *queries.contract_problems(asked, contract), *queries.alert_problems(self.root, columns)], len(asked)


OFFLINE = ["syntax", "names", "resources", "loaded", "settings", "parameters", "azd", "workbook", "documents", "commands"]

# (file, what is there, what is planted, a piece of what must be said)
PLANTED = [
    ("infra/modules/app.bicep", "functionAppConfig: {", "functionAppConfig: {{", "syntax"),
    ("infra/modules/app.bicep", "minTlsVersion", "minimumTls", "has no property properties.siteConfig.minimumTls"),
    ("infra/modules/storage.bicep", "  kind: 'StorageV2'\n", "", "needs kind"),
    ("infra/modules/storage.bicep", "level: 'CanNotDelete'", "strength: 'CanNotDelete'", "needs properties.level"),
    ("infra/modules/workbook.bicep", "'../workbook.json'", "'../work-book.json'", "work-book.json is not there"),
    ("infra/modules/availability.bicep", "webTestId: test.id", "webTestId: tests.id", "tests is not declared"),
    ("infra/main.bicep", "    sku: storageSku\n", "", "needs the parameter sku"),
    ("infra/main.bicep", "    retentionDays: retentionDays\n", "    days: retentionDays\n", "has no parameter days"),
    ("infra/main.bicep", "param historyDays int", "param retentionDays int", "retentionDays is declared twice"),
    ("infra/main.bicep", "identity.outputs.clientId", "identity.outputs.client", "has no output client"),
    ("infra/main.bicep", "SCIMGATE_SUPPORT:", "SCIMGATE_HELP:", "SCIMGATE_HELP is a setting of nobody"),
    ("infra/main.parameters.json", '"alertEmail"', '"alertMail"', "no parameter alertMail"),
    ("azure.yaml", "  scimgate:", "  gate:", "azure.yaml"),
    ("infra/kql/17_failing_now.kql", "we fail", "we failed", "workbook.json is not what"),
    ("infra/workbook.py", 'NOT_SHOWN = {"25_daily_cap"}', "NOT_SHOWN = set()", "without a place"),
    ("infra/workbook.json", '"type": 3,', '"type": 10,', "has not 3 tiles"),
    ("infra/workbook.json", '"name": "Reference",', '"name": "Pasted",', "15_one_request uses Reference"),
    ("docs/operate.md", "### lost-requests", "### lost", "lost-requests"),
    ("docs/deploy.md", "--src target/package.zip", "--src <zip>", "syntax error near"),
    ("docs/deploy.md", 'registry="scimgate$suffix"\n', "", "registry: unbound variable"),
    ("docs/deploy.md", "module workbook insightsId=", "module workbook insights=", "workbook.bicep has no parameter insights"),
    ("docs/deploy.md", "output identity principalId", "output identity objectId", "identity has no output objectId"),
    ("docs/deploy.md", "name: SCIMGATE_PUBLIC_URL", "name: SCIMGATE_URL", "SCIMGATE_URL is a setting of nobody"),
]
# The same for what queries find in rows.
PLANTED_MEANINGS = [
    ("infra/kql/14_quarantine_risk.kql", "failure = status >= 400", "failure = status >= 500", "every POST refused"),
    ("infra/kql/03_lost_between_host_and_handler.kql", "isempty(invocation1)", "isempty(invocation)", "is lost"),
    ("infra/modules/alerts.bicep", "failed >= 5 or", "failed >= 4 or", "four among many"),
    ("infra/modules/alerts.bicep", "failed >= 10 and", "failed >= 9 and", "nine do not"),
    ("infra/modules/alerts.bicep", "and failedPct >= 1'", "and failedPct >= 0'", "nor do ten"),
]
PLANTED_MEANINGS_OF_WRITTEN_ROWS = [
    ("infra/kql/05_heartbeat_gaps.kql", "timestamp - before > 75s", "timestamp - before > 150s", "two signs of life"),
    ("infra/kql/12_restarts_cold_starts.kql", "invocation !in (answered)", "invocation in (answered)", "two starts"),
    ("infra/kql/16_telemetry_health.kql", "otel.sdk.processor.span.processed", "otel.sdk.log.created", "found no room"),
    ("infra/kql/18_where_requests_die.kql", "invocation !in (answered)", "invocation in (answered)", "each part"),
]
# The same for what the Kusto parser and binder, or the list of attributes, must say.
PLANTED_QUERIES = [
    ("infra/kql/06_latency_by_operation_tenant.kql", "percentile(duration, 99)", "percentile(length, 99)", "KS142"),
    ("infra/kql/09_dependency_failures.kql", "dependencies\n", "dependancies\n", "KS204"),
    ("infra/kql/20_unmapped_attributes.kql", "url_decode(", "uri_decoded(", "KS211"),
    ("infra/kql/19_refusals.kql", "scim.error.rule", "scim.error.rules", 'customDimensions["scim.error.rules"]'),
    ("infra/kql/05_heartbeat_gaps.kql", '"process.uptime"', '"process.up"', "no event or metric process.up"),
    ("infra/kql/13_throttles.kql", "{TimeRange:grain}", "{Grain}", "nothing fills {Grain}"),
    ("infra/modules/alerts.bicep", "where failed >= 10 and", "where fails >= 10 and", "alert storage-failures"),
    ("infra/modules/alerts.bicep", "dimension: 'failure'", "dimension: 'fault'", "no column fault"),
]


def planted_copy(folder, file, there, planted):
    for part in (".github", "infra", "docs", "Cargo.toml", "Dockerfile", "README.md", "azure.yaml", "package", "src/config.rs"):
        source, target = ROOT / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    path = folder / file
    text = path.read_text()
    assert there in text, f"{file} has no {there!r} to put a mistake into"
    path.write_text(text.replace(there, planted, 1))
    return Infra(folder)


def main():
    if sys.argv[1:] == ["--tests"]:
        print("\n".join(recorded.tests()))
        return 0
    executable, library, rows = sys.argv[1:]
    passed, failed = 0, 0

    def tell(name, problems):
        nonlocal passed, failed
        print(f"{'FAILED' if problems else 'ok':<7}{name}")
        for problem in problems:
            print(f"       {problem}")
        passed, failed = passed + (not problems), failed + bool(problems)

    infra = Infra(ROOT)
    for name in OFFLINE:
        tell(name, list(getattr(infra, name)()))
    problems, count = infra.kusto(executable, library)
    tell(f"kusto: {count} queries", problems)
    for name, problems in data.problems(ROOT):
        tell(name, problems)
    for name, problems in recorded.problems(ROOT, pathlib.Path(rows), others={"history": queries.of_history(executable)}):
        tell(name, problems)
    for look in shipping.LOOKS:
        tell(look.__name__, list(look(ROOT)))
    if shipping.PACKS_HERE:
        for fact, holds, said in shipping.packing(ROOT, pathlib.Path(executable)):
            tell(f"package: {fact}", [] if holds else [said])
    else:
        print("skipped: ./package, as it runs on Linux on x86-64 only")
    for mistakes, look in (
        (PLANTED, lambda copy, _: [problem for name in OFFLINE for problem in getattr(copy, name)()]),
        (PLANTED_MEANINGS, lambda copy, _: [name for name, problems in data.problems(copy.root) if problems]),
        (PLANTED_MEANINGS_OF_WRITTEN_ROWS, lambda copy, file: [
            name for name, problems in recorded.problems(copy.root, pathlib.Path(rows), pathlib.Path(file).name[:2]) if problems
        ]),
        (shipping.PLANTED, lambda copy, _: shipping.problems(copy.root)),
        (PLANTED_QUERIES, lambda copy, _: copy.kusto(None, library)[0]),
    ):
        for file, there, planted, expected in mistakes:
            with tempfile.TemporaryDirectory() as folder:
                found = look(planted_copy(pathlib.Path(folder), file, there, planted), file)
            unseen = [] if any(expected in problem for problem in found) else [f"expected {expected!r}, found {found[:3]}"]
            tell(f"planted in {file}: {expected}", unseen)
    print(f"test result: {'FAILED' if failed else 'ok'}. {passed} passed; {failed} failed; {int(not shipping.PACKS_HERE)} ignored")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
