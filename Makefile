# Two commands are enough: `make run` shows the mesh at work, `make test` proves it. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PYTHON ?= python3
BIN := .venv/bin

help: ## list what make can do here
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: .venv/.installed ## make .venv and install the project in it, when pyproject.toml or constraints.txt changed

.venv/.installed: pyproject.toml constraints.txt scripts/venv
	@scripts/venv .venv
	@$(BIN)/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	@touch $@

tools: ## install the real servers that the tests need: MongoDB into .tools, RabbitMQ through apt-get
	@scripts/tools

run: venv ## start the embedded mesh and run the main job on real data
	@$(BIN)/python examples/main_job.py

test: venv tools ## everything: lint, types, import contracts, all tests, 90 % branch coverage
	@scripts/test

unit: venv ## the fast tests: no servers, no processes, no kills
	@$(BIN)/python -m pytest -m 'not servers and not e2e and not chaos and not slow'

lint: venv ## ruff's rules and format, and which package may import which
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: venv ## mypy --strict over all packages
	@$(BIN)/mypy

format: venv ## rewrite the code as ruff wants it
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: venv tools ## measure beside the peers, in one run
	@command -v wrk >/dev/null || scripts/apt-install wrk
	@$(BIN)/python benchmarks/run.py

docs: venv ## write the generated pages: settings, scopes, messages
	@$(BIN)/python -m omega_mesh.docs

clean: ## remove what make has made: .venv, .tools and caches
	@rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.*

.PHONY: help venv tools run test unit lint types format bench docs clean
