"""The facts of the protocols: they fit the classes and the options, and nothing else compares their names."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from geomail.config.schema import Backend, Options, Server
from geomail.protocols.facts import FACTS, ProtocolFacts
from geomail.protocols.registry import PROTOCOLS
from tests.test_imports import ROOT, SOURCES

every_protocol = pytest.mark.parametrize("facts", FACTS.values(), ids=FACTS)
#: The importer reads nginx's words; the demo shows three protocols by name.
MAY_NAME_THEM = (
    "geomail/protocols/",
    "geomail/config/nginx/",
    "cli/geomail_cli/demo.py",
    "cli/geomail_cli/demo_server.py",
)


def sources() -> Iterator[Path]:
    for folder in SOURCES.values():
        for path in sorted(folder.rglob("*.py")):
            if not path.relative_to(ROOT).as_posix().startswith(MAY_NAME_THEM):
                yield path


@pytest.mark.parametrize("path", list(sources()), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_code_outside_the_protocols_names_one(path: Path) -> None:
    names = {*FACTS, *(name.encode() for name in FACTS)}
    found = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert found == [], "ask protocols/facts.py instead"


@every_protocol
def test_facts_are_those_of_the_class_that_they_name(facts: ProtocolFacts) -> None:
    assert FACTS[facts.name] is facts
    assert PROTOCOLS[facts.name].facts is facts
    assert PROTOCOLS[facts.name](Server(protocol=facts.name)).name == facts.name


@every_protocol
def test_options_that_facts_name_are_there(facts: ProtocolFacts) -> None:
    options = {facts.methods_option, facts.capabilities_option, facts.greeting_delay_option} - {""}

    assert options <= set(Options.model_fields)
    assert all(option.startswith(f"{facts.name}_") for option in options)
    assert facts.name in Backend.model_fields


@every_protocol
def test_a_server_may_enable_all_methods_that_its_protocol_has(facts: ProtocolFacts) -> None:
    given = {"protocol": facts.name, facts.methods_option: " ".join(facts.methods)}

    assert Server.model_validate(given).methods == facts.methods


@every_protocol
def test_no_port_is_of_two_protocols(facts: ProtocolFacts) -> None:
    ports = [*facts.ports, *facts.implicit_tls_ports]
    others = [
        port
        for other in FACTS.values()
        if other is not facts
        for port in (*other.ports, *other.implicit_tls_ports)
    ]
    assert len(set(ports)) == len(ports)
    assert not set(ports) & set(others)
