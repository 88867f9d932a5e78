# `make help` lists every target.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DOCKERFILES := $(wildcard deploy/docker/*.Dockerfile)

.PHONY: help
help: ## List the targets.
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 13) else "Python 3.11 or 3.12 is needed, not %d.%d: make PYTHON=python3.12 ..." % v)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --progress-bar off --constraint constraints.txt --editable '.[dev]' | { grep -v 'already satisfied' || true; }
	$(BIN)/python -c 'import torch, grpc, brandloom'
	touch $@

.PHONY: venv
venv: $(INSTALLED) ## Make the virtual environment with pinned dependencies.

.PHONY: demo
demo: $(INSTALLED) ## Do the main job for real: label, train, register and generate with stacked LoRAs.
	$(BIN)/python -m demo.run

.PHONY: run
run: $(INSTALLED) ## Start the four services and keep them running until Ctrl-C.
	$(BIN)/python -m demo.services

.PHONY: demo-models
demo-models: $(INSTALLED) ## Train the demo's base models again (a GPU if there is one, hours on a CPU).
	$(BIN)/python -m demo.recipe --out demo/models

.PHONY: test-servers
test-servers: ## Install the servers that tests use, where apt can (an S3 gateway, Prometheus' promtool).
	@bash tests/servers/install.sh

.PHONY: test
test: $(INSTALLED) test-servers ## Run the everyday tests, as many files at a time as there are cores (four at most).
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile

.PHONY: test-slow
test-slow: $(INSTALLED) test-servers ## Run the longer tests too.
	$(BIN)/python -m pytest -m 'not gpu and not bench' --timeout 1800

.PHONY: test-gpu
test-gpu: $(INSTALLED) ## Run the tests that need an accelerator.
	$(BIN)/python -m pytest -m gpu --timeout 1800

.PHONY: bench-train
bench-train: $(INSTALLED) ## Time packed training beside PEFT's (writes benchmarks/results/).
	$(BIN)/python -m benchmarks.train

.PHONY: bench-serve
bench-serve: $(INSTALLED) ## Time the engine beside stock libraries' serving (writes benchmarks/results/).
	$(BIN)/python -m benchmarks.serve

.PHONY: bench-compositions
bench-compositions: $(INSTALLED) ## Measure which composition keeps each LoRA of a stack best (writes benchmarks/results/).
	$(BIN)/python -m benchmarks.compositions

.PHONY: protos
protos: $(INSTALLED) ## Generate the API's Python code from protos/.
	$(BIN)/python protos/build.py generate

.PHONY: docs
docs: $(INSTALLED) ## Write the reference of the command line from its help.
	$(BIN)/python -m brandloom.cli.reference > docs/reference/cli.md

.PHONY: format
format: $(INSTALLED) ## Format the code and mend what ruff can.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: lint
lint: $(INSTALLED) lint-code lint-protos lint-deploy ## Check code, types, API and deployment files.

.PHONY: lint-code
lint-code: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: lint-protos
lint-protos: $(INSTALLED)
	$(BIN)/python protos/build.py lint
	$(BIN)/python protos/build.py breaking
	$(BIN)/python protos/build.py check

.PHONY: lint-deploy
lint-deploy: $(INSTALLED) test-servers
	$(BIN)/yamllint --strict deploy
	$(BIN)/hadolint $(DOCKERFILES)
	@if command -v promtool >/dev/null; then \
	  promtool check config deploy/prometheus/prometheus.yml && \
	  promtool test rules deploy/prometheus/alerts_test.yml; \
	else echo "promtool is not here: the Prometheus files are checked as YAML only"; fi
	@if command -v docker-compose >/dev/null; then \
	  POSTGRES_PASSWORD=x MINIO_ROOT_PASSWORD=x BRANDLOOM_TOKEN=x docker-compose -f deploy/compose.yaml config --quiet; \
	else echo "docker-compose is not here: compose.yaml is checked as YAML only"; fi

.PHONY: clean
clean: ## Remove the virtual environment, caches and the demo's state.
	rm -rf $(VENV) .brandloom build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
