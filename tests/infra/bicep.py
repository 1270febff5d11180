"""Bicep without its compiler: syntax by two parsers, names, module parameters, and the properties of resources against a table.

The compiler is not on any package registry. `shapes.py` is what stands in for its types.
"""

import re

import pycep
import tree_sitter
import tree_sitter_bicep

from shapes import SHAPES

GRAMMAR = tree_sitter.Language(tree_sitter_bicep.language())
# Keys of a resource that are Bicep's own, not the resource's.
LANGUAGE_KEYS = {"parent", "scope", "dependsOn"}
# Functions and namespaces that the templates use; another one is added here, by somebody who has looked it up.
FUNCTIONS = {
    "empty", "environment", "guid", "loadTextContent", "replace", "resourceGroup", "string", "subscription",
    "subscriptionResourceId", "toLower", "union", "uniqueString",
}


class File:
    """One Bicep file, read by both parsers."""

    def __init__(self, path):
        self.path = path
        self.source = path.read_bytes()
        self.problems = []
        self.tree = tree_sitter.Parser(GRAMMAR).parse(self.source).root_node
        self.problems += [f"{path.name}:{line}: syntax (tree-sitter)" for line in sorted(set(wrong_lines(self.tree)))]
        try:
            self.model = pycep.BicepParser().parse(text=self.source.decode())
        except Exception as error:  # The parser's own errors have no common type.
            self.model = {}
            self.problems.append(f"{path.name}: syntax (pycep): {str(error).splitlines()[0]}")

    def section(self, name):
        return self.model.get(name) or {}

    def text(self, node):
        return self.source[node.start_byte:node.end_byte].decode()


def wrong_lines(node):
    if node.type == "ERROR" or node.is_missing:
        yield node.start_point[0] + 1
    for child in node.children:
        yield from wrong_lines(child)


def walk(node):
    yield node
    for child in node.children:
        yield from walk(child)


def plain(config):
    """A resource's or module's own body: without the loop or condition around it."""
    while isinstance(config, dict) and "config" in config and ("loop_type" in config or "condition" in config):
        config = config["config"]
    return config


def branches(value):
    """The objects and arrays that a value may be: both sides of a condition, all arguments of union()."""
    if isinstance(value, dict) and set(value) == {"operator"}:
        operands = value["operator"]["operands"]
        for side in operands.values():
            yield from branches(side)
    elif isinstance(value, dict) and set(value) == {"function"}:
        if value["function"]["type"] == "union":
            for argument in value["function"]["parameters"].values():
                yield from branches(argument)
    elif isinstance(value, (dict, list)):
        yield value


def properties(value, prefix=""):
    """The dotted paths of every property that a body sets, `[]` for an element of an array."""
    for body in branches(value):
        if isinstance(body, list):
            for element in body:
                yield from properties(element, f"{prefix}[]")
        else:
            for key, inner in body.items():
                path = f"{prefix}.{key.strip(chr(39))}".lstrip(".")
                yield path
                yield from properties(inner, path)


def resource_problems(file):
    """Properties that a resource does not have, and required ones that are not there."""
    for symbol, resource in file.section("resources").items():
        kind = f"{resource['type']}@{resource['api_version']}"
        if kind not in SHAPES:
            yield f"{file.path.name}: {symbol}: no shape for {kind} in shapes.py"
            continue
        shape = SHAPES[kind]
        config = plain(resource["config"])
        there = {path for path in properties(config) if path.split(".")[0] not in LANGUAGE_KEYS}
        for path in sorted(there):
            if not shape.knows(path):
                yield f"{file.path.name}: {symbol}: {kind} has no property {path}"
        for path in sorted(shape.missing(there)):
            yield f"{file.path.name}: {symbol}: {kind} needs {path}"


def module_problems(file, files):
    """Modules that are not there; parameters that are missing, unknown, or asked of a module's outputs in vain."""
    for symbol, module in file.section("modules").items():
        target = (file.path.parent / module["detail"]["path"]).resolve() if "detail" in module else None
        callee = files.get(target)
        given = set(plain(module["config"]).get("params") or {})
        for problem in parameter_problems(callee, symbol, given):
            yield f"{file.path.name}: module {symbol}: {problem}"
        if callee is None:
            continue
        outputs = callee.section("outputs")
        for node in walk(file.tree):
            parts = file.text(node).split(".") if node.type == "member_expression" else []
            if len(parts) == 3 and parts[:2] == [symbol, "outputs"] and parts[2] not in outputs:
                yield f"{file.path.name}: module {symbol}: {callee.path.name} has no output {parts[2]}"


def parameter_problems(callee, name, given):
    """Parameters that a template does not have, and those that it asks for and is not given."""
    if callee is None:
        yield f"{name} is no template"
        return
    declared = callee.section("parameters")
    required = {name for name, parameter in declared.items() if parameter["default"] is None}
    for name in sorted(given - set(declared)):
        yield f"{callee.path.name} has no parameter {name}"
    for name in sorted(required - given):
        yield f"{callee.path.name} needs the parameter {name}"


def name_problems(file):
    """Names that are used and not declared, declared and not used, or declared twice."""
    declared = {name for section in ("parameters", "variables", "resources", "modules") for name in file.section(section)}
    used = {file.text(node) for node in walk(file.tree) if node.type == "identifier" and is_reference(node)}
    loops = {
        file.text(child)
        for node in walk(file.tree) if node.type == "for_statement"
        for child in node.children if child.type == "identifier"
    }
    for name in sorted(used - declared - loops - FUNCTIONS):
        yield f"{file.path.name}: {name} is not declared"
    for name in sorted((set(file.section("parameters")) | set(file.section("variables"))) - used):
        yield f"{file.path.name}: {name} is declared and not used"
    names = re.findall(r"^(?:param|var|resource|module) (\w+)", file.source.decode(), re.M)
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{file.path.name}: {name} is declared twice"


def is_reference(node):
    """Whether an identifier stands for a value, not for a declaration, a property or a decorator."""
    parent = node.parent
    if parent.type.endswith("_declaration"):
        return parent.children.index(node) > 1
    if parent.type == "object_property":
        return parent.children.index(node) > 0
    while parent is not None:
        if parent.type in ("decorator", "decorators"):
            return False
        parent = parent.parent
    return True
