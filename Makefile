# `make demo` and `make test` need python3 and make; everything else they fetch themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

CYCLES ?= 500000
SEED ?= 1
RUNS ?= 100000

.PHONY: demo test check bench soak fuzz servers clean help

help:
	@echo "make demo   run the exporter on a simulated charger"
	@echo "make test   checks and all tests (as root also installs the servers they talk to)"
	@echo "make check  formatting, lint, types, generated documentation and dashboards"
	@echo "make bench  the benchmarks, as one table of ratios"
	@echo "make soak   half an hour of faults: 500,000 cycles, and the books compared"
	@echo "make fuzz   each fuzz target for RUNS executions (100000)"

demo: $(VENV)/installed
	$(BIN)/goe-exporter demo

test: check servers
	$(BIN)/python -m pytest

check: $(VENV)/tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/goe-exporter channels --check README.md
	$(BIN)/python -m dashboards.build --check

bench: $(VENV)/tested
	$(BIN)/python -m benchmarks

soak: $(VENV)/tested
	$(BIN)/python -m soak --cycles $(CYCLES) --seed $(SEED)

fuzz: $(VENV)/tested
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	for target in $$($(BIN)/python -m fuzz --list); do \
		$(BIN)/python -m fuzz $$target -runs=$(RUNS) -max_len=2000 || exit 1; done

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

clean:
	rm -rf $(VENV) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
