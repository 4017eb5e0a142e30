# `make demo` and `make test` need only python3 and make; they fetch everything else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Processes that the tests run in.
WORKERS ?= 3
POLLS ?= 500000
SEED ?= 1
RUNS ?= 100000
OLDEST := .venv-oldest
RELEASE := .venv-release

.PHONY: demo test unit test-slow test-oldest check audit dist bench soak fuzz servers clean help

help:
	@echo "make demo   run the exporter on three simulated chargers"
	@echo "make test   checks and all tests (as root also installs the servers they talk to)"
	@echo "make unit   the tests that need no other process (a minute of CPU)"
	@echo "make test-slow  the tests that take minutes, not part of make test"
	@echo "make test-oldest  the tests with the oldest dependencies that pyproject.toml allows"
	@echo "make check  formatting, lint, types, generated documentation and dashboards"
	@echo "make audit  check the dependencies for known vulnerabilities"
	@echo "make dist   build and check the package, and build the dashboards for grafana.com"
	@echo "make bench  the benchmarks, as one table of ratios"
	@echo "make soak   run the exporter with injected faults for 500,000 polls and compare all counts"
	@echo "make fuzz   each fuzz target for RUNS executions (100000)"

demo: $(VENV)/installed
	$(BIN)/goe-exporter demo

test: check servers
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

unit: $(VENV)/tested
	$(BIN)/python -m pytest -q -m "not system and not slow"

test-slow: $(VENV)/tested
	sh tests/install-servers image
	$(BIN)/python -m pytest -n $(WORKERS) -m slow

test-oldest: $(OLDEST)/tested
	$(OLDEST)/bin/python -m pytest -n $(WORKERS) -m "not slow" $(TESTS)

check: $(VENV)/tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin
	$(BIN)/goe-exporter channels --check docs/channels.md
	$(BIN)/python -m docs.command_line --check
	$(BIN)/python -m dashboards.build --check

audit: $(RELEASE)/installed
	$(RELEASE)/bin/pip-audit --strict .

dist: $(RELEASE)/installed
	rm -rf dist
	$(RELEASE)/bin/python -m build
	$(RELEASE)/bin/twine check --strict dist/*
	rm -rf $(RELEASE)-try && $(PYTHON) -m venv $(RELEASE)-try
	$(RELEASE)-try/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	$(RELEASE)-try/bin/goe-exporter --version
	rm -rf $(RELEASE)-try
	rm -rf build/grafana.com
	$(RELEASE)/bin/python -m dashboards.build --grafana-com build/grafana.com

bench: $(VENV)/tested
	$(BIN)/python -m benchmarks

soak: $(VENV)/tested
	$(BIN)/python -m tests.soak --polls $(POLLS) --seed $(SEED)

fuzz: $(VENV)/tested
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	for target in $$($(BIN)/python -m tests.fuzz --list); do \
		$(BIN)/python -m tests.fuzz $$target -runs=$(RUNS) -max_len=2000 || exit 1; done

servers:
	sh tests/install-servers

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); apt-get install -y python3-venv && $(PYTHON) -m venv $(VENV); }

$(VENV)/installed: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/tested: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

$(OLDEST)/tested: pyproject.toml tests/oldest.txt
	rm -rf $(OLDEST)
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint tests/oldest.txt --editable '.[test]' \
		'check-jsonschema<0.38' # the first that requires a newer click
	touch $@

$(RELEASE)/installed: pyproject.toml .ci/release-tools.txt
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/python -m pip install --quiet --disable-pip-version-check \
		--requirement .ci/release-tools.txt --editable .
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST) $(RELEASE) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
