"""docs/deploy.md in a shell: its blocks in their order, on each way through it, with stand-ins for the programs that reach Azure.

A stand-in notes its words and says `value`. This finds what bash would trip over (a variable that nobody has set, a placeholder), parameters and
outputs that the templates do not have, and settings that scimgate does not; not whether Azure takes a command.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from ruamel.yaml import YAML

import bicep

STAND_INS = ["az", "azd", "curl", "gh", "git", "openssl", "package", "scimgate"]
STAND_IN = """#!/bin/sh
{ printf %s "${0##*/}"; printf '\\t%s' "$@"; echo; } >> "$NOTES"
echo value
"""
ASKS_AZD = "azd env get-value"
AFTERWARDS = ["Is it there?", "The first customer", "Deploying from GitHub", "Upgrading, and what customers notice", "Deleting"]
# (way, sections, whether azd is there)
WAYS = [
    ("with azd", ["With azd", *AFTERWARDS], True),
    ("without azd", ["Without azd", *AFTERWARDS], False),
    ("in Container Apps", ["Container Apps", "The first customer", "Deleting"], False),
]


def problems(root, files, settings):
    page = (root / "docs" / "deploy.md").read_text()
    for way, sections, has_azd in WAYS:
        script = "\n".join(line for section in sections for line in commands(page, section) if has_azd or ASKS_AZD not in line)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            done, notes = run(folder, script)
            if done.returncode != 0:
                yield f"docs/deploy.md {way}: {done.stderr.strip()}"
            for words in notes:
                yield from (f"docs/deploy.md {way}: {problem}" for problem in azure_problems(root, files, words))
            if (folder / "containerapp.yaml").exists():
                app = YAML(typ="safe").load(folder / "containerapp.yaml")
                given = {setting["name"] for setting in app["properties"]["template"]["containers"][0]["env"]}
                yield from (f"docs/deploy.md {way}: {name} is a setting of nobody" for name in sorted(given - settings))


def commands(page, section):
    """The lines of a section's blocks, without those that show what is printed."""
    text = page.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```\n(.*?)^```$", text, re.M | re.S)
    assert blocks, f"docs/deploy.md has no commands in {section}"
    return [line for block in blocks if not block.startswith("$ ") for line in block.splitlines()]


def run(folder, script):
    """How bash ended, and the words of each command that was asked of a stand-in. No other program is found, but `cat`."""
    for name in STAND_INS:
        (folder / name).write_text(STAND_IN)
        (folder / name).chmod(0o755)
    (folder / "cat").symlink_to(shutil.which("cat"))
    notes = folder / "notes"
    command = [shutil.which("bash"), "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=folder, env={"PATH": str(folder), "NOTES": str(notes)}, capture_output=True, text=True)
    return done, [line.split("\t") for line in notes.read_text().splitlines()] if notes.exists() else []


def azure_problems(root, files, words):
    """What a template does not have that is given to it, or asked of it."""
    if "--template-file" in words:
        path = words[words.index("--template-file") + 1]
        given = {word.partition("=")[0] for word in words[words.index("--parameters") + 1:]}
        yield from bicep.parameter_problems(files.get((root / path).resolve()), path, given)
    elif words[:4] == ["az", "deployment", "group", "show"]:
        module = words[words.index("--name") + 1]
        output = words[words.index("--query") + 1].split(".")[2]
        # Azure spells names that begin with capitals in another way when it tells them.
        if output not in files[(root / "infra" / "modules" / f"{module}.bicep").resolve()].section("outputs") or output[0].isupper():
            yield f"{module} has no output {output}"
