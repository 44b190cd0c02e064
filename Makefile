# `make train` and `make test` set everything up by themselves; they need Python 3.11+ and a
# package index. `make help` lists the rest.

VENV ?= .venv
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
SEEDS ?= 4
ARGS ?=
JOBS ?= 2
MINUTES ?= 53

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-dev
DOCS := $(VENV)/.installed-docs
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help setup train test test-slow test-versions torture lint bench docs clean

help:
	@echo 'make train      set up if needed, train QMIX on foraging (SEEDS=4, ARGS="--learner.lr 3e-4")'
	@echo 'make test       set up if needed, lint, run the tests (in JOBS=2 processes)'
	@echo 'make test-slow  the long learning proofs'
	@echo 'make test-versions  a smoke suite with the lowest and the newest versions of every dependency'
	@echo 'make torture    an hour of wrong input, broken files and kills (MINUTES=5 for less)'
	@echo 'make setup      only create $(VENV) and install marlx there'
	@echo 'make lint       ruff and mypy'
	@echo 'make bench      the speed suite, results in bench/ (ARGS=--quick)'
	@echo 'make docs       the documentation as a site, site/index.html; strict'
	@echo 'make clean      remove $(VENV), caches and builds; runs/ stays'

setup: $(STAMP)

$(STAMP): pyproject.toml
	@test -n '$(PYTHON)' || { echo 'marlx needs Python 3.11 or newer; none was found, say where: make PYTHON=...' >&2; exit 2; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "marlx needs Python 3.11 or newer, $(PYTHON) is $$('$(PYTHON)' -V 2>&1); say where: make PYTHON=..." >&2; exit 2; }
	@test -x $(BIN)/python || { echo 'creating $(VENV)'; '$(PYTHON)' -m venv $(VENV); } || \
	  { echo 'cannot create $(VENV); on Debian and Ubuntu the package python3-venv is needed' >&2; rm -rf $(VENV); exit 2; }
	@echo 'installing marlx and its dependencies into $(VENV), which takes a few minutes the first time'
	@$(PIP) install -qq --upgrade pip
	@$(PIP) install -qq --editable '.[dev]'
	@$(BIN)/python .ci/show_types.py
	@touch $@

train: $(STAMP)
	@$(BIN)/marlx train qmix Foraging-8x8-2p-2f-coop-v3 --seeds $(SEEDS) --total-steps 500_000 $(ARGS)

test: lint
	@$(BIN)/pytest -q -n $(JOBS) --dist loadfile $(ARGS)

test-slow: $(STAMP)
	@XLA_FLAGS= $(BIN)/pytest -q -m slow $(ARGS)   # fully optimised code: these run long

test-versions:
	@'$(PYTHON)' benchmarks/versions/run.py $(ARGS)

torture: $(STAMP)
	@$(BIN)/python benchmarks/torture/run.py --minutes $(MINUTES) $(ARGS)

lint: $(STAMP)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary

bench: $(STAMP)
	@$(BIN)/marlx bench all $(ARGS)

$(DOCS): $(STAMP)
	@echo 'installing what builds the documentation into $(VENV)'
	@$(PIP) install -qq --editable '.[docs]'
	@touch $@

docs: $(DOCS)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo 'site/index.html'

clean:
	rm -rf $(VENV) build dist site *.egg-info .cache .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
