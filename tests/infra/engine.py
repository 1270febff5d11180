"""Queries on rows: a Kusto engine on DuckDB (duckdb-kql), and what our queries need and it does not know.

It is not Azure's. Microsoft's parser says that a query can run (kusto.js); this says that it finds what it is for.
"""

import itertools
import json
import re
from datetime import datetime, timezone

import duckdb_kql
from duckdb_kql.translate import functions

# When queries are asked: it stands still, so that a slow machine does not take rows out of what an alert looks at.
NOW = datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)
CLOCK = {"now()": f"datetime({NOW.isoformat()})", "ago(": f"(datetime({NOW.isoformat()}) - "}
# Columns of Application Insights (those that queries ask for), and of its workspace.
COMMON = ("timestamp TIMESTAMP, operation_Id TEXT, operation_ParentId TEXT, cloud_RoleName TEXT, cloud_RoleInstance TEXT, "
          "application_Version TEXT, itemCount INTEGER, customDimensions JSON")
CALL = "id TEXT, name TEXT, success TEXT, resultCode TEXT, duration DOUBLE"
TABLES = {
    "requests": f"{CALL}, {COMMON}",
    "dependencies": f"{CALL}, type TEXT, target TEXT, data TEXT, {COMMON}",
    "exceptions": f"type TEXT, outerMessage TEXT, innermostMessage TEXT, {COMMON}",
    "traces": f"message TEXT, {COMMON}",
    "customEvents": f"name TEXT, {COMMON}",
    "customMetrics": f"name TEXT, value DOUBLE, valueSum DOUBLE, valueMax DOUBLE, {COMMON}",
    "availabilityResults": f"name TEXT, location TEXT, success TEXT, message TEXT, {COMMON}",
    "Usage": "TimeGenerated TIMESTAMP, DataType TEXT, Quantity DOUBLE, IsBillable BOOLEAN",
    "_LogOperation": "TimeGenerated TIMESTAMP, Category TEXT, Detail TEXT",
}
# (how DuckDB says it, how many arguments there are; the last one of make_set_if is how many it keeps at most)
FUNCTIONS = {
    "range": ("to_json(generate_series({0}, {1}, {2}))", 3),
    "strcat_array": ("array_to_string(CAST({0} AS TEXT[]), {1})", 2),
    "url_decode": ("url_decode({0})", 1),
}
AGGREGATES = {
    "make_set_if": ("to_json(coalesce(list_distinct(list({0}) FILTER (WHERE {1})), []))", 3),
    "maxif": ("max({0}) FILTER (WHERE {1})", 2),
}
# Of a column's order, and of how a result is drawn, no case asks.
LEFT_OUT = ("project-reorder ", "render ")
PREVIOUS = re.compile(r"\bprev\((\w+)\)")
RUNNING_SUM = re.compile(r"serialize (\w+) = row_cumsum\((\w+), (.+)\)$", re.S)
TOKEN = re.compile(r"```.*?```|@?\"[^\"]*\"|'[^']*'|//[^\n]*|[(\[{]|[)\]}]|[;|]|.", re.S)

for _name, (_template, _arguments) in FUNCTIONS.items():
    functions.SCALAR_FUNCTIONS.setdefault(_name, functions.FunctionSpec(_name, "template", _template, (_arguments,)))
for _name, (_template, _arguments) in AGGREGATES.items():
    functions.AGGREGATE_FUNCTIONS.setdefault(_name, functions.AggregateSpec(_name, _template, (_arguments,)))


def split(text, mark):
    """The parts between marks that stand in no bracket, text or comment; comments are left out."""
    parts, depth = [""], 0
    for token in TOKEN.findall(text):
        depth += (token in "([{") - (token in ")]}")
        if token == mark and depth == 0:
            parts.append("")
        elif not token.startswith("//"):
            parts[-1] += token
    return [part.strip() for part in parts]


class Engine:
    """Tables with rows, each a table's name and a dict, and queries on them."""

    def __init__(self, rows):
        self.connection = duckdb_kql.connect()
        self.numbers = itertools.count()
        for table, columns in TABLES.items():
            self.connection.sql(f"CREATE TABLE {table} ({columns})")
        self.connection.begin()
        for table, row in rows:
            values = [json.dumps(value) if name == "customDimensions" else value for name, value in row.items()]
            marks = ", ".join("?" * len(row))
            self.connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", values)
        self.connection.commit()

    def ask(self, query):
        """The names of its columns, and its rows."""
        for asked, answer in CLOCK.items():
            query = query.replace(asked, answer)
        *lets, last = [part for part in split(query, ";") if part]
        known = ""
        for let in lets:
            name, value = re.fullmatch(r"let (\w+) = (.*)", let, re.S).groups()
            if "| serialize" in value:
                self.connection.sql(f"CREATE TABLE {name} AS SELECT * FROM {self.steps(known, value)}")
            else:
                known += f"let {name} = {value};\n"
        result = self.connection.sql(f"SELECT * FROM {self.steps(known, last)}")
        return [column[0] for column in result.description], result.fetchall()

    def steps(self, known, pipeline):
        """A table with what comes out of a pipeline, of which this engine does those steps that look at the row before."""
        done = []
        for step in split(pipeline, "|"):
            if step.startswith("serialize"):
                done = [self.serialized(self.table(known, done), step)]
            elif not step.startswith(LEFT_OUT):
                done.append(PREVIOUS.sub(r"previous_\1", step))
        return self.table(known, done)

    def table(self, known, steps):
        name = f"step{next(self.numbers)}"
        rows = duckdb_kql.query(self.connection, known + "\n| ".join(steps))
        rows.create(name)
        return name

    def serialized(self, table, step):
        """The same rows in their order, each with those of the one before."""
        columns = [column[0] for column in self.connection.sql(f"SELECT * FROM {table}").description]
        before = ", ".join(f'lag("{column}") OVER (ORDER BY rowid) AS "previous_{column}"' for column in columns)
        name = f"step{next(self.numbers)}"
        self.connection.sql(f"CREATE TABLE {name} AS SELECT *, {before} FROM {table} ORDER BY rowid")
        running = RUNNING_SUM.fullmatch(step)
        if not running:
            return name
        total, column, restarts = running.groups()
        marked = self.table("", [name, "extend restarts = " + PREVIOUS.sub(r"previous_\1", restarts)])
        part = f"SELECT *, count_if(restarts) OVER (ORDER BY rowid) AS part, rowid AS place FROM {marked}"
        summed = f"step{next(self.numbers)}"
        self.connection.sql(f"CREATE TABLE {summed} AS SELECT *, sum({column}) OVER (PARTITION BY part ORDER BY place) AS {total} FROM ({part})")
        return summed
