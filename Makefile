# The set-up is one stamp file: a change of what is installed installs again, anything else does not.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs
PEER := .venv-peer
PEER_STAMP := $(PEER)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test lint types docs benchmark-peer clean

help:  ## show the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 16

demo: $(STAMP)  ## install into .venv and run the whole way on a phantom data set (about three minutes)
	rm -rf demo
	$(BIN)/autoseg demo

test: $(STAMP)  ## install into .venv and run the tests, one worker per core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 $(PYTEST_OPTIONS)

lint: $(STAMP)  ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## check types
	$(BIN)/mypy

docs: $(DOCS_STAMP)  ## build the documentation into site/; dead links and missing pages are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# DATA, MODEL, PREDICTIONS and PLANS are optional folders; without DATA a phantom data set is used.
benchmark-peer: $(STAMP) $(PEER_STAMP)  ## compare with nnU-Net v2, installed beside; writes docs/benchmarks.md (an hour)
	$(BIN)/python -m benchmarks.peer --peer-python $(PEER)/bin/python --pages docs \
	  $(if $(DATA),--data $(DATA)) $(if $(MODEL),--model $(MODEL)) \
	  $(if $(PREDICTIONS),--predictions $(PREDICTIONS)) $(if $(PLANS),--plans $(PLANS)) $(BENCHMARK_OPTIONS)

clean:  ## remove everything that was made, .venv too
	rm -rf $(VENV) $(PEER) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'autoseg needs Python 3.11 or newer; $(PYTHON) is' \
	    "$$($(PYTHON) --version 2>&1). Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo 'The module venv of $(PYTHON) does not work; on Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[develop]'
	@touch $@

# Apart from the rest, so that tests do not wait for what only the site needs.
$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	@touch $@

$(PEER_STAMP): benchmarks/peer/requirements.txt benchmarks/peer/requirements-alone.txt
	@$(PYTHON) -m venv $(PEER)
	$(PEER)/bin/python -m pip install --quiet -r benchmarks/peer/requirements.txt
	$(PEER)/bin/python -m pip install --quiet --no-deps -r benchmarks/peer/requirements-alone.txt
	@touch $@
