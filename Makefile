# `install` is the shared step; everything else runs from .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Test processes; each has one thread (tests/conftest.py).
JOBS ?= 2

.PHONY: install demo test test-cpp test-caffe2 lint type fmt docs bench clean

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

# The C++ clients alone: built in build/cpp, then compared with Python. `make test` has it too.
test-cpp: install
	$(BIN)/python -m pytest --quiet tests/cpp

# Caffe2 from PyPI in build/caffe2-env, made once (1.7 GB) and kept; it wants a Python 3.6 to 3.9.
CAFFE2_ENV := build/caffe2-env
CAFFE2_PYTHON ?= $(shell for p in python3.8 python3.9 python3.7 python3.6 $(foreach v,8 9 7 6,$(wildcard $(HOME)/.pyenv/versions/3.$(v).*/bin/python)); do \
	$$p -c '' 2> /dev/null && echo $$p && break; done)

test-caffe2: install
	@test -n "$(CAFFE2_PYTHON)" || { echo "No Python 3.6 to 3.9 found: make test-caffe2 CAFFE2_PYTHON=..."; exit 1; }
	@test -x $(CAFFE2_ENV)/bin/python || $(BIN)/d2deploy caffe2-runtime --python $(CAFFE2_PYTHON) --folder $(CAFFE2_ENV)
	D2DEPLOY_CAFFE2_PYTHON=$(CURDIR)/$(CAFFE2_ENV)/bin/python $(BIN)/python -m pytest --quiet tests/backends/caffe2

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
