"""Real SCIM clients against the real service, on both stores.

  main.py <the executable scimgate> [suite ...]

A suite yields (check, problem): the problem is None, or what the suite said. The last line is libtest's: ./test counts it.
"""

import os
import sys
import traceback
import uuid

import peer
import sanity
import tester
from service import Service

SUITES = {"scim2-cli": tester.checks, "scim-sanity": sanity.checks, "scim2-client": peer.checks}


def stores():
    """Settings of the service by the store's name."""
    yield "sqlite", {"SCIMGATE_STORE": "sqlite:scimgate.db"}
    connection = os.environ.get("AZURITE_CONNECTION_STRING")
    if connection:
        table = f"t{uuid.uuid4().hex}"
        tables = {"SCIMGATE_TABLES_CONNECTION": connection, "SCIMGATE_TABLE": table}
        yield "tables", {"SCIMGATE_STORE": "tables:", **tables}
    else:
        print("skipped: AZURITE_CONNECTION_STRING is not set, so no client runs on tables")


def crash(suite, tenant):
    """The checks of a suite; that it ends with an exception is one more, failed."""
    try:
        yield from suite(*tenant)
    except Exception:  # a suite that breaks off must not take the others with it
        yield "the suite runs to its end", traceback.format_exc()


def main(executable, *named):
    passed, failed = 0, 0
    for store, settings in stores():
        with Service(os.path.abspath(executable), settings) as service:
            for name, suite in SUITES.items():
                if named and name not in named:
                    continue
                good, bad = 0, 0
                for check, problem in crash(suite, service.tenant(name)):
                    good, bad = good + (problem is None), bad + (problem is not None)
                    if problem is not None:
                        print(f"FAILED {store}/{name}: {check}\n    " + problem.strip().replace("\n", "\n    "))
                print(f"{store}/{name}: {good} passed, {bad} failed", flush=True)
                passed, failed = passed + good, failed + bad
    print(f"test result: {'FAILED' if failed else 'ok'}. {passed} passed; {failed} failed; 0 ignored")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
