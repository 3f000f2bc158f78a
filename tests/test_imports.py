"""The source follows CONTRIBUTING.md's table of allowed imports."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {"geomail": ROOT / "geomail", "geomail_cli": ROOT / "cli" / "geomail_cli"}

NETWORK = {"gevent", "socket", "_socket", "ssl", "_ssl", "select", "selectors", "asyncio", "http", "urllib"}
INPUT_OUTPUT = NETWORK | {"os", "io", "pathlib", "subprocess", "threading", "logging", "time", "signal"}
PRESENTATION = {"geomail_cli", "typer", "rich"}


@dataclass(frozen=True)
class Rule:
    """The imports that a module may have.

    Of geomail: ``may``, and under TYPE_CHECKING ``for_types`` too. Otherwise: the
    packages ``outside`` and the standard library, except ``never``.
    """

    may: tuple[str, ...]
    for_types: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    never: frozenset[str] = frozenset()


BOTTOM = Rule(may=("errors", "events", "conversation", "parties"), never=frozenset(INPUT_OUTPUT))
CONFIG = Rule(
    may=("errors", "config", "protocols.facts"),
    outside=("pydantic", "pydantic_core", "toml"),
    never=frozenset(NETWORK),
)
AUTH = (
    "errors", "parties", "net", "backends", "config.schema", "config.routes", "protocols.facts", "auth",
)  # fmt: skip
ALL_BELOW_SESSION = (
    "errors", "events", "parties", "conversation", "secrets", "protocols", "net", "auth", "backends",
)  # fmt: skip

#: The rule of a module has the longest name that the module's name starts with.
RULES: dict[str, Rule] = {
    "errors": BOTTOM,
    "parties": BOTTOM,
    "events": BOTTOM,
    "conversation": BOTTOM,
    "secrets": Rule(may=("conversation", "config.units"), never=frozenset(INPUT_OUTPUT)),
    "hashes": Rule(
        may=("errors", "hashes"), outside=("argon2", "bcrypt", "passlib"), never=frozenset(NETWORK)
    ),
    "build": Rule(may=()),
    "folders": Rule(may=(), never=frozenset(NETWORK)),
    "privileges": Rule(may=("errors",)),
    "config": CONFIG,
    "config.users": Rule(may=("errors", "config", "hashes", "protocols.facts"), never=frozenset(NETWORK)),
    "config.probe": Rule(
        may=("errors", "config", "net.tls_contexts", "net.openssl.binding", "privileges"),
    ),
    "protocols.facts": Rule(may=(), never=frozenset(INPUT_OUTPUT)),
    "protocols": Rule(
        may=("conversation", "parties", "errors", "protocols"),
        for_types=("config.schema",),
        never=frozenset(NETWORK | {"time", "logging"}),
    ),
    "net": Rule(may=("errors", "parties", "conversation", "net"), outside=("gevent", "greenlet", "dns")),
    "net.unix_sockets": Rule(may=("folders",)),
    "auth": Rule(may=AUTH, outside=("gevent",)),
    "auth.http": Rule(may=(*AUTH, "conversation"), outside=("gevent",)),
    "auth.users": Rule(may=(*AUTH, "config.users", "hashes"), outside=("gevent",)),
    "auth.verifier": Rule(may=("errors", "parties", "hashes"), outside=("gevent",)),
    "auth.costs": Rule(may=("errors", "hashes"), never=frozenset(NETWORK)),
    "backends": Rule(may=("errors", "net", "config.schema", "backends"), outside=("gevent",)),
    "session": Rule(
        may=(*ALL_BELOW_SESSION, "control.selection", "session"),
        for_types=("config.schema",),
        outside=("gevent",),
    ),
    "preview": Rule(may=(*ALL_BELOW_SESSION, "config", "preview")),
    "control": Rule(may=("errors",), never=frozenset(INPUT_OUTPUT)),
    "sinks": Rule(
        may=("events", "errors", "control", "protocols.facts", "sinks"),
        for_types=("config.schema",),
        outside=("gevent",),
    ),
    "sinks.target": Rule(may=("folders",), outside=("gevent",)),
    "console": Rule(
        may=(
            "control",
            "events",
            "errors",
            "console",
            "net.listen",
            "sinks.tally",
            "sinks.meters",
        ),
        for_types=("sinks.log",),
        outside=("gevent", "prometheus_client"),
    ),
    "process": Rule(may=("",), outside=("gevent",)),
    "process.open_files": Rule(may=()),
    "process.incidents": Rule(may=()),
    "process.systemd": Rule(may=()),
    "process.children": Rule(may=("errors", "privileges")),
    "process.readiness": Rule(may=(), outside=("gevent",)),
}


@dataclass(frozen=True)
class Import:
    """One imported module (``from x import y`` counts as ``x.y`` if that is a module)."""

    line: int
    name: str
    for_types: bool


def modules(package: str) -> Iterator[tuple[str, Path]]:
    """Return the dotted names below the package ("" is the package itself) and their files."""
    for path in sorted(SOURCES[package].rglob("*.py")):
        parts = path.relative_to(SOURCES[package]).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), path


def imports(path: Path) -> list[Import]:
    return list(_imports(ast.parse(path.read_text()), False))


def _imports(node: ast.AST, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import(names=names):
                yield from (Import(child.lineno, alias.name, for_types) for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (Import(child.lineno, _module(module, a.name), for_types) for a in names)
            case ast.ImportFrom():
                raise AssertionError(f"line {child.lineno}: a relative import")
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield from _imports(child, True)
            case _:
                yield from _imports(child, for_types)


def _module(module: str, name: str) -> str:
    top, *parts = f"{module}.{name}".split(".")
    below = SOURCES.get(top, ROOT).joinpath(*parts)
    return f"{module}.{name}" if below.is_dir() or below.with_suffix(".py").is_file() else module


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(prefix in ("", name) or name.startswith(f"{prefix}.") for prefix in prefixes)


def rule_for(module: str) -> Rule:
    known = [name for name in RULES if within(module, (name,))]
    assert known, f"geomail.{module} has no row in the table"
    return RULES[max(known, key=len)]


def complaint(rule: Rule, imported: Import) -> str | None:
    """Return what is wrong with an import; None if nothing is."""
    top, _, rest = imported.name.partition(".")
    if top == "geomail":
        allowed = rule.may + (rule.for_types if imported.for_types else ())
        return None if rest == "" or within(rest, allowed) else "is not a module that it may import"
    if top in PRESENTATION:
        return "belongs to the command line"
    if top in rule.never:
        return "must not be imported here"
    if top in sys.stdlib_module_names or within(top, rule.outside):
        return None
    return "is not a package that it may import"


@pytest.mark.parametrize(
    ("module", "path"), [pytest.param(*row, id=row[0]) for row in modules("geomail") if row[0]]
)
def test_geomail_imports_what_the_table_allows(module: str, path: Path) -> None:
    rule = rule_for(module)
    found = [
        f"{path.relative_to(ROOT)}:{i.line}: {i.name} {c}" for i in imports(path) if (c := complaint(rule, i))
    ]
    assert not found, "\n".join(found)


def test_the_package_itself_imports_nothing() -> None:
    assert imports(SOURCES["geomail"] / "__init__.py") == []


@pytest.mark.parametrize("name", RULES)
def test_every_row_of_the_table_is_of_a_module(name: str) -> None:
    place = SOURCES["geomail"].joinpath(*name.split("."))
    assert place.is_dir() or place.with_suffix(".py").is_file()


def patches(path: Path) -> list[ast.stmt]:
    """Return the top-level statements of a file that monkey-patch; a deeper one fails the test."""
    tree = ast.parse(path.read_text())
    top = [statement for statement in tree.body if isinstance(statement, ast.Expr) and _patching(statement)]
    assert len(top) == sum(_patches(node) for node in ast.walk(tree)), f"{path} patches in a function"
    return list(top)


def _patching(statement: ast.AST) -> bool:
    return any(_patches(node) for node in ast.walk(statement))


def _patches(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute | ast.Name) and _name(node).startswith("patch_")


def _name(node: ast.Attribute | ast.Name) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id


@pytest.mark.parametrize("path", [SOURCES["geomail_cli"] / "main.py", ROOT / "tests" / "conftest.py"])
def test_monkey_patching_comes_before_every_other_import(path: Path) -> None:
    [patch] = patches(path)
    assert [i.name for i in imports(path) if i.line < patch.lineno and i.name != "__future__"] == ["gevent"]


def test_monkey_patching_happens_nowhere_else() -> None:
    paths = [path for package in SOURCES for _, path in modules(package)]
    assert [path for path in paths if path.name != "main.py" and patches(path)] == []


def test_one_module_writes_toml_and_none_reads_with_what_writes_it() -> None:
    importing = {
        path.relative_to(ROOT).as_posix()
        for package in SOURCES
        for _, path in modules(package)
        if any(i.name.partition(".")[0] == "toml" for i in imports(path))
    }

    assert importing == {"geomail/config/toml_text.py"}
