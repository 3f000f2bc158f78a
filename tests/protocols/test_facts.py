"""The facts of the protocols fit the classes and the options."""

import pytest

from geomail.config.schema import Backend, Options, Server
from geomail.protocols.facts import FACTS, ProtocolFacts
from geomail.protocols.registry import PROTOCOLS

every_protocol = pytest.mark.parametrize("facts", FACTS.values(), ids=FACTS)


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


def test_the_services_are_those_of_dovecots_own_log() -> None:
    services = {name: facts.dovecot_service for name, facts in FACTS.items()}

    assert services == {"smtp": "submission-login", "imap": "imap-login", "pop3": "pop3-login"}


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
