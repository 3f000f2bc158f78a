# The commands of a working day. `make test` is all that a fresh machine needs.

INTERPRETERS := $(shell tests/interpreters.sh)
PYTHON = $(firstword $(INTERPRETERS))
VENV := $(shell tests/interpreters.sh --folder "$(PYTHON)")
SUITE = $(VENV)/bin/python -m tests.suite --python "$(PYTHON)"

.PHONY: test
test: environment servers  ## every check and test; PYTHON=python3.12: on that interpreter
	$(SUITE) lint pure compiled

.PHONY: test-pure
test-pure: environment servers  ## every test, on the sources
	$(SUITE) pure

.PHONY: test-compiled
test-compiled: environment servers  ## the tests of the modules that are compiled, on the compiled build
	$(SUITE) compiled

.PHONY: test-long
test-long: environment servers  ## the tests that take minutes by nature
	$(SUITE) long

.PHONY: test-all
test-all: lint  ## the tests on every supported Python that is found, on the sources and compiled
	set -e; for python in $(INTERPRETERS); do \
		echo "tests: $$("$$python" -V)"; \
		$(MAKE) test-pure-and-compiled PYTHON="$$python"; \
	done

.PHONY: test-pure-and-compiled
test-pure-and-compiled: environment servers  ## both, on one interpreter
	$(SUITE) pure compiled

.PHONY: coverage
coverage: export COVERAGE_PROCESS_START = $(CURDIR)/pyproject.toml
coverage: export COVERAGE_FILE = $(CURDIR)/.coverage/data
coverage: environment servers  ## which lines and branches the tests run, in every process (what takes long may fail: all is traced)
	rm -rf .coverage
	mkdir .coverage
	-$(SUITE) pure
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report --skip-covered --sort=cover

.PHONY: bench
bench: compiled  ## geomail, compiled, beside nginx, measured; BENCH_ARGS=--quick for a rough figure
	.venv-compiled/bin/python -m tests.benchmarks $(BENCH_ARGS)

.PHONY: compiled
compiled:  ## .venv-compiled, with the compiled build
	tests/environment.sh "$(PYTHON)" .venv-compiled
	tests/compile.sh .venv-compiled

.PHONY: wheels
wheels:  ## dist/: a wheel for each supported Python that is found and the source distribution, each proved to work
	tests/wheels.sh $(INTERPRETERS)

.PHONY: lint
lint: environment  ## style and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy

.PHONY: mutations
mutations: environment  ## break the source in the ways of tests/mutations.toml: the tests must notice each
	$(VENV)/bin/python -m tests.mutations $(MUTATIONS_ARGS)

.PHONY: demo
demo: environment  ## the proxy in front of a sandbox mail server, with lines to try
	$(VENV)/bin/geomail serve --demo

.PHONY: picture
picture: environment  ## the picture of tail --top in README.md, from a server with some sessions
	$(VENV)/bin/python -m tests.cli.picture tests/benchmarks/figures/top.svg

.PHONY: man
man: environment  ## the manual page of the configuration, from its options
	$(VENV)/bin/python -m geomail.config.manual >man/man5/geomail.toml.5

.PHONY: environment
environment:  ## .venv, from requirements.lock
	tests/environment.sh "$(PYTHON)" $(VENV)

.PHONY: servers
servers:  ## Postfix, Dovecot and the clients that tests use, from the distribution
	tests/servers/install.sh

.PHONY: lock
lock:  ## requirements.lock again, from pyproject.toml and what is released today
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet uv
	.venv-lock/bin/uv pip compile pyproject.toml --extra dev --quiet --upgrade --universal --python-version 3.11 \
		--generate-hashes --no-header --no-emit-index-url --output-file requirements.lock

.PHONY: clean
clean:  ## forget everything that was made
	rm -rf .venv .venv-* build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
