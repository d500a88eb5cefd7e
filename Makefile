# Needs Python 3.11 or later with pip, and nothing else. Everything is installed below .venv.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
# The virtual environment is one shared resource: two installs at once would break it.
.NOTPARALLEL:

PYTHON ?= python3
# Tests that share a server run in one process: a group. After a process that crashed the others would wait for ever.
PARALLEL := -n 2 --dist loadgroup --max-worker-restart 0
PYTEST_ARGS ?= -m "not slow" $(PARALLEL)
PARTITIONS ?= 2013-01-01...2013-01-31
UV_REQUIREMENT ?= uv>=0.13,<0.14

VENV := .venv
BIN := $(VENV)/bin
OLDER_SPARK := $(VENV)-spark
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input
CODE := lakehouse io checks assets

LOCK := $(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-strip-extras --no-emit-index-url --no-annotate --no-config --extra aws $(if $(UPGRADE),--upgrade)

# Otherwise `python -m` puts this folder first on the path, and what is run is not what is installed.
export PYTHONSAFEPATH := 1

.PHONY: help setup demo bench test test-slow spark check lint format-check types contracts format lock clean FORCE

help: ## List the targets
	@echo "Usage: make TARGET"
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' Makefile | expand -t 16

setup: $(VENV)/dev $(VENV)/project ## Install everything into .venv (a few minutes the first time)

demo: $(VENV)/runtime $(VENV)/project ## Build the reference lakehouse for January 2013
	@$(BIN)/lakehouse refresh '+gold.*' --partitions $(PARTITIONS)

# The scripts import what lies beside them, which a safe path leaves out.
bench: setup $(VENV)-bench/installed ## Run the benchmarks, and write benchmarks/RESULTS.md (half an hour)
	@env -u PYTHONSAFEPATH $(BIN)/python benchmarks/run.py

test: setup ## Run the tests (PYTEST_ARGS="..." replaces the arguments)
	@$(BIN)/pytest $(PYTEST_ARGS) $(COVERAGE)

test-slow: setup spark ## Run the slow tests: kills, faults of storage, attacks, a worker
	@$(BIN)/pytest -m slow $(PARALLEL) $(COVERAGE)

spark: setup ## Install Spark 3.5 for its tests, if there is Java (a minute or two)
	@if command -v java >/dev/null; then $(MAKE) --no-print-directory $(OLDER_SPARK)/installed; \
		else echo "There is no Java, so tests of Spark are skipped"; fi

check: lint format-check types contracts ## Lint, formatting, types and import contracts

lint: setup
	@echo "Lint (ruff check)"
	@$(BIN)/ruff check --quiet

format-check: setup
	@echo "Format (ruff format --check)"
	@$(BIN)/ruff format --quiet --check --output-format concise

# Not from here, where io/ would pass for the standard library's: from a folder that holds nothing but
# the tests. The paths of what was linked are put back to those of the sources.
types: setup
	@echo "Types (mypy, strict; half a minute the first time)"
	@mkdir -p $(VENV)/types && ln -sfn ../../tests $(VENV)/types/tests
	@cd $(VENV)/types && ../bin/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache \
		-p lakehouse -p tests | sed -E -e 's#^.*/__editable__[^/]*/lakehouse/(io|checks|assets)/#\1/#' \
		-e 's#^.*/__editable__[^/]*/##'

# Not from here either: import-linter puts the current folder on the path.
contracts: setup
	@echo "Import contracts (import-linter)"
	@cd $(VENV) && bin/lint-imports --config ../pyproject.toml --no-cache --no-logo

format: setup ## Format the code, and mend what ruff can mend
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format

lock: $(VENV)-lock/bin/uv ## Resolve the requirements anew (UPGRADE=1: to the newest versions)
	@echo "Locking requirements.txt and requirements-dev.txt"
	@$(LOCK) --group build --output-file requirements.txt pyproject.toml
	@$(LOCK) --extra dask --extra spark --group dev --constraint requirements.txt --output-file requirements-dev.txt pyproject.toml
	@if grep -nE '://|^-|@' requirements.txt requirements-dev.txt; then \
		echo "These lines name a place to install from." >&2; exit 1; fi

clean: ## Remove what was installed and cached; data stays
	@rm -rf $(VENV) $(VENV)-lock $(VENV)-bench $(OLDER_SPARK) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The files below are stamps: each is as old as the step it stands for.

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or later is needed, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
			"Name another one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/runtime: requirements.txt $(VENV)/created
	@echo "Installing what the library needs (one to three minutes the first time)"
	@$(PIP) install --no-deps --require-hashes -r requirements.txt
	@touch $@

$(VENV)/dev: requirements-dev.txt requirements.txt $(VENV)/created
	@echo "Installing what the library and its tests need (one to three minutes the first time)"
	@$(PIP) install --no-deps --require-hashes -r requirements-dev.txt
	@touch $(VENV)/runtime $@

# An editable install in strict mode links file by file, so it is made anew when the list of files
# changes. The list is written only when it differs; the stamp's age tells.
$(VENV)/files: FORCE | $(VENV)/created
	@find $(wildcard $(CODE)) \( -name '*.py' -o -name py.typed -o -path '*/scaffold/template/*' -type f \
		-o -path '*/web/templates/*' -o -path '*/web/static/*' \) | LC_ALL=C sort > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(VENV)/project: pyproject.toml $(VENV)/files | $(VENV)/runtime
	@echo "Linking lakehouse into $(VENV) (a few seconds)"
	@$(PIP) install --no-deps --no-build-isolation --config-settings editable_mode=strict --editable .
	@touch $@

$(VENV)-lock/bin/uv:
	@echo "Installing uv into $(VENV)-lock"
	@$(PYTHON) -m venv $(VENV)-lock
	@$(VENV)-lock/bin/python -m pip -qq --disable-pip-version-check install '$(UV_REQUIREMENT)'

# What the benchmarks are held against has an environment of its own.
$(VENV)-bench/installed: benchmarks/requirements-peer.txt
	@echo "Installing Dagster into $(VENV)-bench (a minute or two)"
	@$(PYTHON) -m venv $(VENV)-bench
	@$(VENV)-bench/bin/python -m pip -qq --disable-pip-version-check --no-input install -r $<
	@touch $@

# Put first on the path, it takes the place of the Spark in $(VENV).
$(OLDER_SPARK)/installed: tests/spark/requirements-3.5.txt
	@echo "Installing Spark 3.5 into $(OLDER_SPARK) (a minute or two)"
	@rm -rf $(OLDER_SPARK)
	@$(PIP) install --target $(OLDER_SPARK) --no-deps --no-build-isolation --require-hashes -r $<
	@touch $@

FORCE:
