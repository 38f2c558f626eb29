# Vedette: `make demo` to see it, `make check` before a commit, `make test` for everything.

PYTHON ?= $(shell for found in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$found -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$found && break; done)
UV ?= uv
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := $(UV) pip compile --universal --python-version 3.11 --no-emit-index-url --no-header --generate-hashes --quiet
ARGS ?=
NAME ?=

export OPENBLAS_NUM_THREADS ?= 1
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo check test static unit system versions bench services services-stop lock clean

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

install: .venv/.installed ## Everything Vedette needs, in .venv
install-dev: .venv/.installed-dev ## The same, and what its tests need

demo: install ## See it work, without any service: ARGS=--help
	@$(BIN)/vedette demo $(ARGS)

check: install-dev static unit ## Format, lint, types, import contracts, unit tests: a minute or two

test: install-dev system versions static ## All of it: real Kafka, PostgreSQL and Chromium too
	@$(BIN)/pytest $(ARGS)

bench: install-dev ## Measure: NAME=drift ARGS=--help
	@$(BIN)/python -m tests.benchmarks $(NAME) $(ARGS)

services: install-dev system ## Kafka and PostgreSQL on loopback, in the background
	@$(BIN)/python -m deploy.dev.services start

services-stop: install-dev ## Stop them
	@$(BIN)/python -m deploy.dev.services stop

lock: ## Choose newer versions within pyproject.toml: ARGS=--upgrade
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	$(COMPILE) $(ARGS) pyproject.toml -o requirements.lock
	$(COMPILE) $(ARGS) --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean: ## Remove .venv and caches
	@if [ -e .venv/.installed-dev ]; then $(BIN)/python -m deploy.dev.services stop; fi
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info

static:
	@$(BIN)/ruff format --check --quiet . || { echo "run: $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

unit:
	@$(BIN)/pytest -q -n 2 --dist loadfile -m "not services and not browser and not slow" --ignore=tests/integration --ignore=tests/browser $(ARGS)

system:
	@deploy/dev/system.sh

versions:
	@$(BIN)/python --version
	@$(BIN)/ruff --version
	@$(BIN)/mypy --version
	@java -version 2>&1 | head -n 1 || true
	@chromium --version 2>/dev/null || true

.venv/bin/python:
	@test -n "$(PYTHON)" || { \
		echo "Vedette needs Python 3.11 or later; found: $$(python3 --version 2>&1). Try: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Vedette needs Python 3.11 or later, and $(PYTHON) is $$($(PYTHON) --version 2>&1)" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { \
		echo "Python has no venv: install the package python3-venv" >&2; rm -rf .venv; exit 1; }

.venv/.installed: .venv/bin/python requirements.lock pyproject.toml
	@echo "Installing into .venv: about a minute …"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/.installed-dev: .venv/.installed requirements-dev.lock
	@echo "Installing what the tests need …"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@
