# `install` is the shared step; everything else runs from .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Test processes; each has one thread (tests/conftest.py).
JOBS ?= 2

# Caffe2 runs on Python 3.6 to 3.9 only. Where there is one, `make test` makes an environment of it once (1.7 GB, a
# minute) and keeps it; where not, or with CAFFE2_PYTHON= on the command line, the tests that need it are skipped.
# Whoever has D2DEPLOY_CAFFE2_PYTHON set has one already.
CAFFE2_ENV := build/caffe2-env
CAFFE2_PYTHON := $(if $(D2DEPLOY_CAFFE2_PYTHON),,$(shell for p in python3.8 python3.9 python3.7 python3.6 \
	$(foreach v,8 9 7 6,$(wildcard $(HOME)/.pyenv/versions/3.$(v).*/bin/python)); do \
	$$p -c '' 2> /dev/null && command -v $$p && break; done))
CAFFE2_READY := $(if $(CAFFE2_PYTHON),$(CAFFE2_ENV)/.ready)
CAFFE2_RUN := $(if $(CAFFE2_PYTHON),D2DEPLOY_CAFFE2_PYTHON=$(CURDIR)/$(CAFFE2_ENV)/bin/python)
CAFFE2_IS_THERE := test -n "$(CAFFE2_PYTHON)$(D2DEPLOY_CAFFE2_PYTHON)" || \
	echo "Not proven: that Caffe2 runs the nets (tests/backends/caffe2). No Python 3.6 to 3.9 is found. Name one:" \
	"make test CAFFE2_PYTHON=/path/to/python3.8"

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

test: lint type $(CAFFE2_READY)
	$(CAFFE2_RUN) $(BIN)/python -m pytest --quiet --numprocesses $(JOBS) --dist worksteal
	@$(CAFFE2_IS_THERE)

# The C++ clients alone: built in build/cpp, then compared with Python. `make test` has it too.
test-cpp: install
	$(BIN)/python -m pytest --quiet tests/cpp

# Those of Caffe2 alone, its C++ client among them. `make test` has them too.
test-caffe2: install $(CAFFE2_READY)
	@$(CAFFE2_IS_THERE) | { ! grep .; }
	$(CAFFE2_RUN) $(BIN)/python -m pytest --quiet tests/backends/caffe2 tests/cpp -k caffe2

# Says nothing when it is there and works; one that was made only by half is made again.
$(CAFFE2_READY): | install
	@$(CAFFE2_ENV)/bin/python -I -c 'from caffe2.python import workspace' > $(VENV)/caffe2.txt 2>&1 || { \
		rm -rf $(CAFFE2_ENV); \
		$(BIN)/d2deploy caffe2-runtime --python $(CAFFE2_PYTHON) --folder $(CAFFE2_ENV) > $(VENV)/caffe2.txt; }
	@touch $@

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
