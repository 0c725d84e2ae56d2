# `install` is the shared step; everything else runs from .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Test processes; each has one thread (tests/conftest.py).
JOBS ?= 2

.PHONY: install demo test lint type fmt docs bench clean

install: $(INSTALLED)

# Again only when what it installs has changed. An interrupted install leaves no stamp, so the next one repairs it.
$(INSTALLED): pyproject.toml constraints.txt
	@echo "Installing into $(VENV): about 1.4 GB, a minute or two"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install
	$(BIN)/python -m d2deploy demo

test: lint type
	$(BIN)/python -m pytest --quiet --numprocesses $(JOBS) --dist worksteal

lint: install
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/lint-imports --no-cache > $(VENV)/lint-imports.txt || { cat $(VENV)/lint-imports.txt; exit 1; }

type: install
	$(BIN)/mypy

fmt: install
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --fix --quiet .

docs: install
	$(BIN)/python docs/generate.py

bench: install
	$(BIN)/python -m benchmarks.bench

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
