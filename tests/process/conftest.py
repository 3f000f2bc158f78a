"""A geomail that must end well, and without a bug."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.support import Running
from tests.servers.small import small_servers


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with small_servers() as backends:
        found = Running(tmp_path, backends["imap"])
        yield found
        if found.geomail is not None:
            assert found.geomail.stop() == 0, found.geomail.log.text
            assert "Traceback" not in found.geomail.log.text, found.geomail.log.text
