"""What every test needs: blocking calls are gevent's from the first statement on, as in geomail itself."""

from gevent import monkey

monkey.patch_all()

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure: what takes how long is not what examples are for.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

pytest_plugins = ["tests.servers.fixtures", "tests.console.fixtures"]


@pytest.fixture(autouse=True)
def usual_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let root's workers stay root here: the files of tests are in folders that nobody else may enter."""
    monkeypatch.setattr("geomail.privileges._USUAL", ("root", "nobody"))
