# Every command of the project. `make help` lists them. CI calls only these.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PYTEST_ARGS ?=

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- Setting up -------------------------------------------------------------------------------

$(INSTALLED): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Coral needs Python 3.11 or newer: set PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	@echo "Installing the locked dependencies into $(VENV) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: install
install: $(INSTALLED) ## Create .venv with every locked dependency

.PHONY: cluster-binaries
cluster-binaries: $(INSTALLED) ## Build the control plane and KWOK from Go modules (minutes once, then cached)
	$(BIN)/python -m coral_localcluster build

LOCK_OPTIONS := --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet

.PHONY: lock
lock: ## Renew the two lock files from pyproject.toml (needs uv)
	uv pip compile pyproject.toml $(LOCK_OPTIONS) --output-file requirements.lock
	uv pip compile pyproject.toml --group dev --constraints requirements.lock $(LOCK_OPTIONS) \
	  --output-file requirements-dev.lock

# --- Checking ---------------------------------------------------------------------------------

.PHONY: lint
lint: $(INSTALLED) ## ruff: style and common faults
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: format
format: $(INSTALLED) ## ruff: fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: types
types: $(INSTALLED) ## mypy --strict over every package
	$(BIN)/mypy
	$(BIN)/mypy --strict examples/library

.PHONY: layers
layers: $(INSTALLED) ## import-linter: packages import one way
	$(BIN)/lint-imports

.PHONY: manifests
manifests: $(INSTALLED) ## Write crds/, the chart's copy and docs/reference from the code
	$(BIN)/python -m coral_api.generate
	$(BIN)/python -m coral_operator.status.metrics > docs/reference/metrics.md

.PHONY: verify
verify: $(INSTALLED) ## Fail where a generated file differs from the code
	$(BIN)/python -m coral_api.generate --check

.PHONY: check
check: lint types layers verify ## Everything that needs no test run

.PHONY: test
test: $(INSTALLED) cluster-binaries ## Every test that needs no GPU and no container engine
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

.PHONY: test-unit
test-unit: $(INSTALLED) ## Only the tests that need no cluster
	$(BIN)/python -m pytest -m "not slow and not cluster" $(PYTEST_ARGS)

.PHONY: test-slow
test-slow: $(INSTALLED) ## The exhaustive variants: 500 random cases against the ILP and brute force
	$(BIN)/python -m pytest -m slow --timeout 3600 $(PYTEST_ARGS)

.PHONY: vllm-arguments
vllm-arguments: $(INSTALLED) ## Check every engine pod's arguments with vLLM's own parser (installs its CPU build, 6 GB)
	$(BIN)/python tests/vllm/check_vllm_args.py

# --- Using ------------------------------------------------------------------------------------

.PHONY: demo
demo: $(INSTALLED) cluster-binaries ## Show the whole loop on a local API server with emulated GPU nodes
	$(BIN)/python -m coral_demo $(if $(KEEP),--keep,)

.PHONY: bench
bench: $(INSTALLED) cluster-binaries ## Renew every table of docs/ (hours; ONLY=scaling: some of them)
	$(BIN)/python -m benchmarks.publish $(if $(ONLY),--only $(ONLY),)

.PHONY: clean
clean: ## Remove what the targets made inside the clone
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
