"""The geomail command with a fourth protocol, the toy: ``python -m tests.toy serve``."""

from geomail.protocols.facts import FACTS
from tests.toy.facts import TOY

FACTS[TOY.name] = TOY

if __name__ == "__main__":
    from geomail_cli.main import app

    app()
