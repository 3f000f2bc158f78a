# The commands for developers. `make test` sets up everything on a new machine.

INTERPRETERS := $(shell tests/interpreters.sh)
PYTHON = $(firstword $(INTERPRETERS))
VENV := $(shell tests/interpreters.sh --folder "$(PYTHON)")
SUITE = $(VENV)/bin/python -m tests.suite --python "$(PYTHON)"

.PHONY: test
test: environment servers  ## run every check and test; PYTHON=python3.12: on that interpreter
	$(SUITE) lint pure compiled

.PHONY: test-pure
test-pure: environment servers  ## run every test, on the sources
	$(SUITE) pure

.PHONY: test-compiled
test-compiled: environment servers  ## run the tests of the compiled modules, on the compiled build
	$(SUITE) compiled

.PHONY: test-long
test-long: environment servers  ## run the tests that take minutes by nature
	$(SUITE) long

.PHONY: test-all
test-all: lint  ## run the tests on every supported Python that is found, on the sources and compiled
	set -e; for python in $(INTERPRETERS); do \
		echo "tests: $$("$$python" -V)"; \
		$(MAKE) test-pure-and-compiled PYTHON="$$python"; \
	done

.PHONY: test-pure-and-compiled
test-pure-and-compiled: environment servers  ## run both kinds of tests, on one interpreter
	$(SUITE) pure compiled

.PHONY: coverage
coverage: export COVERAGE_PROCESS_START = $(CURDIR)/pyproject.toml
coverage: export COVERAGE_FILE = $(CURDIR)/.coverage/data
coverage: environment servers  ## count the lines and branches that the tests run, in every process (slow tests may fail)
	rm -rf .coverage
	mkdir .coverage
	-$(SUITE) pure
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report --skip-covered --sort=cover

.PHONY: bench
bench: compiled  ## measure the compiled geomail and nginx; BENCH_ARGS=--quick: rough figures
	.venv-compiled/bin/python -m tests.benchmarks $(BENCH_ARGS)

.PHONY: compiled
compiled:  ## make .venv-compiled, with the compiled build
	tests/environment.sh "$(PYTHON)" .venv-compiled
	tests/compile.sh .venv-compiled

.PHONY: wheels
wheels:  ## make dist/: a wheel for each supported Python that is found and the source distribution, each tested
	tests/wheels.sh $(INTERPRETERS)

.PHONY: lint
lint: environment  ## check style and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy

.PHONY: mutations
mutations: environment  ## break the source in the ways of tests/mutations.toml: the tests must fail each time
	$(VENV)/bin/python -m tests.mutations $(MUTATIONS_ARGS)

.PHONY: demo
demo: environment  ## run geomail in front of a sandbox mail server, with commands to try
	$(VENV)/bin/geomail serve --demo

.PHONY: picture
picture: environment  ## the picture of tail --top in README.md, from a server with some sessions
	$(VENV)/bin/python -m tests.cli.picture tests/benchmarks/figures/top.svg

.PHONY: man
man: environment  ## make the manual page of the configuration from its options
	$(VENV)/bin/python -m geomail.config.manual >man/man5/geomail.toml.5

.PHONY: environment
environment:  ## make .venv from requirements.lock
	tests/environment.sh "$(PYTHON)" $(VENV)

.PHONY: servers
servers:  ## install Postfix, Dovecot and the tests' clients from the distribution
	tests/servers/install.sh

.PHONY: lock
lock:  ## make requirements.lock again, from pyproject.toml and today's releases
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet uv
	.venv-lock/bin/uv pip compile pyproject.toml --extra dev --quiet --upgrade --universal --python-version 3.11 \
		--generate-hashes --no-header --no-emit-index-url --output-file requirements.lock

.PHONY: clean
clean:  ## delete everything that these commands made
	rm -rf .venv .venv-* build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
