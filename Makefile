# `make` lists the targets. Each installs what it needs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Tests of one file run in one process and share fixtures. PARALLEL= runs all tests in one process.
PARALLEL ?= -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# Processes start seconds faster with the compiled modules of the last run, so keep them.
export PYTHONDONTWRITEBYTECODE :=
.DEFAULT_GOAL := help
.PHONY: help demo up check test chaos compose-check lint docs screenshots audit-dependencies bench bench-compare client lock clean preflight

help: ## show this list
	@printf 'Boomerang. Targets install what they need into $(VENV), with Python 3.11 or newer (PYTHON=%s).\n\n' '$(PYTHON)'
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: preflight $(STAMP) ## run 200 jobs through the whole service against a simulated provider (under two minutes; ARGS=--stay: then keep it running)
	@$(BIN)/boomerang-server demo $(ARGS)

up: preflight $(STAMP) ## run the whole service on this machine until Ctrl-C
	@$(BIN)/boomerang-server up $(ARGS)

check: preflight $(STAMP) ## run the fast tests, which start no processes (two to three minutes)
	@HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-quick} $(BIN)/python -m pytest $(PARALLEL) -m 'not stack and not chaos and not slow' $(ARGS)

test: preflight $(STAMP) ## run all tests
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

chaos: preflight $(STAMP) ## run what `make test` leaves out: every fault at length, fuzzing (CHAOS_SEEDS=1,2,3, CHAOS_JOBS=100000; about two hours)
	@$(BIN)/python -m pytest -m chaos $(ARGS)

compose-check: preflight $(STAMP) ## run docker-compose.yml on a real engine and check it line by line (without Docker: ARGS=--own-engine; 15 minutes)
	@$(BIN)/python -m ops.compose_check $(ARGS)

lint: $(STAMP) ## check style, types, layers, dependencies and the contents of the wheels
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.10 -p boomerang_client
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	rm -rf dist
	$(BIN)/python -m build --wheel --no-isolation --outdir dist . >/dev/null
	$(BIN)/python -m build --wheel --no-isolation --outdir dist client >/dev/null
	$(BIN)/check-wheel-contents dist/boomerang_jobs-*.whl
	$(BIN)/check-wheel-contents --config client/pyproject.toml dist/boomerang_jobs_client-*.whl
	$(BIN)/python -m ops.release.vulnerabilities
	$(BIN)/python -m pip check --disable-pip-version-check

docs: $(STAMP) ## update the generated parts of the pages, and build the site (build/site)
	@$(BIN)/cog -r -P -p 'from ops import reference' $$(find docs -name '*.md')
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

screenshots: preflight $(STAMP) ## write the pictures of the dashboard in the docs (needs Chromium)
	@$(BIN)/python -m ops.screenshots

audit-dependencies: $(STAMP) ## look every locked package up in the advisory database (lint does it, too)
	@$(BIN)/python -m ops.release.vulnerabilities

bench: preflight $(STAMP) ## measure throughput, latency and memory, as ratios on this machine
	@$(BIN)/python -m ops.bench $(ARGS)

bench-compare: preflight $(STAMP) ## measure what a job costs in commit BASE and in this tree, in turn (BASE=<commit>; about five minutes)
	@$(BIN)/python -m ops.bench.compare $(ARGS) -- '$(BASE)'

client: $(STAMP) ## write the client without asyncio from the one with it (client/boomerang_client/asynchronous)
	@$(BIN)/python -m ops.release.client_code

lock: $(STAMP) ## lock the newest versions that fit, with hashes: requirements.lock, locks/ (ARGS=--keep: as few changes as possible)
	$(BIN)/python -m ops.release.lock $(ARGS)

clean: ## remove the environment, caches and build leftovers (never .boomerang: it may hold jobs)
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# First, because the other checks are modules that need Python 3.11.
define require_python
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
  echo "Boomerang needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | head -1)." >&2; \
  echo "Name another one: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
endef

# Check that a Redis server can be started, now or after the installation.
preflight:
	$(require_python)
	@$(firstword $(wildcard $(BIN)/python) $(PYTHON)) -m ops.local.preflight redis

# Repeated when a file changes that decides what is installed.
$(STAMP): requirements.lock pyproject.toml client/pyproject.toml
	$(require_python)
	@$(PYTHON) -m ops.local.preflight setup
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV) (once) …"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip uninstall -qq --yes --disable-pip-version-check boomerang boomerang-client 2>/dev/null
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e . -e client
	@touch $@
