"""The setup for every test: blocking calls are gevent's from the first statement on, as in geomail itself."""

from gevent import monkey

monkey.patch_all()

import pytest
from hypothesis import HealthCheck, settings

# Examples do not test speed: a slow example on a busy machine is not a failure.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

pytest_plugins = ["tests.servers.fixtures", "tests.console.fixtures"]


@pytest.fixture(autouse=True)
def usual_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep root's workers root in the tests, because only root may enter the folders of their files."""
    monkeypatch.setattr("geomail.privileges._USUAL", ("root", "nobody"))
