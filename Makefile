# Everything a person or CI runs. `make` prints the targets; nothing here touches system packages.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
TESTS ?= tests
WORKERS ?= 2
SEED ?= 1
N ?= 1000
QUIET := -q --disable-pip-version-check
LOCK := pip compile -q --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

help:  ## This list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(RUNTIME)  ## Four weeks of a 60-consultant firm in about a minute, with planted faults
	@$(BIN)/tieout demo $(ARGS)

test: $(DEV)  ## All tests; what cannot run here is skipped with its reason (ARGS="-k name")
	@$(BIN)/pytest -n $(WORKERS) --dist loadgroup -rsfE $(TESTS) $(ARGS)

check: lint types test  ## What CI runs: lint, types, tests

lint: $(DEV)  ## ruff
	@$(BIN)/ruff check .

types: $(DEV) links  ## mypy --strict over the packages and the tests
	@$(BIN)/mypy -p tieout
	@MYPYPATH=.types:tests $(BIN)/mypy --explicit-package-bases tests

# Type checkers cannot follow an editable install's import hook: give them folders they can.
links:
	@mkdir -p .types/tieout
	@for folder in codecs reconcilers schemas streams; do ln -sfn "../../$$folder" ".types/tieout/$$folder"; done

kafka: $(DEV)  ## Apache Kafka on a free port, in the foreground until Ctrl-C
	@$(BIN)/python tests/brokers.py

bench: $(DEV)  ## Changes a second, against a plain loop and an ordinary Faust app
	@$(BIN)/python -m bench $(ARGS)

bench-recovery: $(DEV)  ## Seconds until tables are back: 10,000, 100,000 and a million keys (ARGS="--snapshots")
	@$(BIN)/python -m bench.recovery $(ARGS)

stops: $(DEV)  ## SIGTERM at 50 random points of a worker on Apache Kafka (long)
	@TIEOUT_TEST_STOPS=$${TIEOUT_TEST_STOPS:-50} $(BIN)/pytest -s -n0 tests/faults/test_worker_stops.py $(ARGS)

faults: $(DEV)  ## The fault suite on three brokers: kills, brokers, rebalances, disks, clocks (long)
	@cd tests && ../$(BIN)/python -m faults.suite $(ARGS)

audit: $(DEV)  ## Known vulnerabilities of the locked packages; says so when the advisories cannot be asked
	@$(BIN)/python tests/advisories.py $(ARGS)

sbom: $(DEV)  ## CycloneDX bill of materials of what is installed at run time, in build/
	@mkdir -p build
	@$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible -o build/tieout.cdx.json requirements.txt
	@echo "build/tieout.cdx.json"

capture: $(DEV) links  ## Record the change captures of tests/capture/golden anew (PostgreSQL, MariaDB, Debezium)
	@cd tests && for system in record record_kimai; do ../$(BIN)/python -m capture.$$system capture/golden; done

simulate: $(DEV)  ## Ingest, worker and sink in one process, with crashes from a seed (SEED=1 N=1000)
	@PYTHONPATH=tests $(BIN)/python -m simulation.run --seed $(SEED) --n $(N) --jobs $(WORKERS)

lock: $(DEV)  ## Resolve pyproject.toml anew into requirements*.txt, with hashes
	@echo "uv" | $(BIN)/uv $(LOCK) -o requirements-uv.txt -
	@echo "setuptools>=77" | $(BIN)/uv $(LOCK) -o requirements.txt pyproject.toml -
	@echo "setuptools>=77" | $(BIN)/uv $(LOCK) --extra dev --extra services -c requirements.txt -o requirements-dev.txt pyproject.toml -

clean:  ## Remove the environment, caches and whatever the demo left
	@rm -rf $(VENV) .types .pytest_cache .mypy_cache .ruff_cache .hypothesis .tieout build *.egg-info target

$(RUNTIME): requirements.txt pyproject.toml | $(BIN)/uv
	@echo "installing tieout into $(VENV)"
	@$(call install,requirements.txt)
	@touch $@

$(DEV): requirements-dev.txt pyproject.toml | $(BIN)/uv
	@echo "installing tieout, and what its tests and checks need, into $(VENV)"
	@$(call install,requirements-dev.txt)
	@touch $@ $(RUNTIME)

# uv fetches in parallel (10 s instead of 48 s); pip does it where uv cannot, behind a mirror that only pip knows, say.
install = VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install -q --no-deps --require-hashes -r $(1) \
	|| $(BIN)/python -m pip install $(QUIET) --no-deps --require-hashes -r $(1); \
	$(BIN)/python -m pip install $(QUIET) --no-deps --no-build-isolation -e .

$(BIN)/uv: requirements-uv.txt | $(BIN)/python
	@$(BIN)/python -m pip install $(QUIET) --no-deps --require-hashes -r requirements-uv.txt || ln -sf /bin/false $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not here: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$($(PYTHON) --version) is too old: tieout needs Python 3.11 or newer. Name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "this Python has no venv module. On Debian and Ubuntu: apt-get install python3-venv. Or name another Python: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

.PHONY: help demo test check lint types links kafka bench bench-recovery stops faults capture audit sbom simulate lock clean
