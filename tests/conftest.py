"""What every test needs: blocking calls are gevent's from the first statement on, as in geomail itself."""

from gevent import monkey

monkey.patch_all()

pytest_plugins = ["tests.servers.fixtures", "tests.console.fixtures"]
