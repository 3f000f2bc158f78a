# The commands of a working day. `make test` is all that a fresh machine needs.

VENV := .venv
INTERPRETERS = $(shell tests/interpreters.sh)
PYTHON = $(firstword $(INTERPRETERS))

.PHONY: test
test: lint servers  ## every check and test, on every supported Python that is found
	tests/twice.sh $(VENV)/bin/pytest
	tests/other_interpreters.sh $(filter-out $(PYTHON),$(INTERPRETERS))
	tests/compiled.sh "$(PYTHON)"

.PHONY: test-compiled
test-compiled: servers  ## the tests of what is compiled, on the compiled build
	tests/compiled.sh "$(PYTHON)"

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

.PHONY: demo
demo: environment  ## the proxy in front of a sandbox mail server, with lines to try
	$(VENV)/bin/geomail serve --demo

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
	rm -rf .venv .venv-* build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
