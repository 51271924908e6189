# `make demo` and `make test` do all the set-up themselves; PYTHON= chooses the interpreter,
# ARGS= is passed on: make demo ARGS="--exit --recipients 20000", make test ARGS="-k lanes -x".
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt

# Hundreds of our programs are started by the tests: from compiled files they start in half the time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo install dev test lint format check bench dashboards clean

help:
	@echo 'make demo     a campaign of 5,000 messages, everything simulated on this machine'
	@echo 'make test     the tests'
	@echo 'make lint     style, types and the direction of imports'
	@echo 'make check    lint, then test'
	@echo 'make bench    how fast it is, beside the peers: an hour; ARGS=--quick for a look; into build/bench'
	@echo 'make dashboards  the JSON of deploy/grafana/dashboards, from its code'
	@echo 'make install  the broadcaster command, as $(BIN)/broadcaster'

demo: install
	@$(BIN)/broadcaster demo $(ARGS)

# The order in which files are handed out is tests/conftest.py's: the long ones first.
test: dev
	@$(BIN)/python -m pytest -n 5 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

check: lint test

bench: $(VENV)/.installed-bench
	@$(BIN)/python tests/bench/everything.py $(ARGS)

dashboards: dev
	@$(BIN)/python deploy/grafana/generate.py

clean:
	rm -rf $(VENV) build dist *.egg-info

# The stamps are newer than what they were made from as long as nothing needs installing.
install: $(VENV)/.installed
dev: $(VENV)/.installed-dev

$(VENV)/.installed: pyproject.toml constraints.txt $(VENV)/pyvenv.cfg
	@echo 'Installing into $(VENV) (once, about a minute) …'
	@$(PIP) --editable '.[server]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt $(VENV)/pyvenv.cfg
	@echo 'Installing into $(VENV), with what the tests need (once, about a minute) …'
	@$(PIP) --editable '.[dev]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-bench: pyproject.toml constraints.txt $(VENV)/pyvenv.cfg
	@echo 'Installing into $(VENV), with what the benches need (once, about a minute) …'
	@$(PIP) --editable '.[bench]'
	@touch $(VENV)/.installed $(VENV)/.installed-dev $@

# Bare Debian has a python3 without venv: it leaves half an environment behind and exits 1.
$(VENV)/pyvenv.cfg:
	@version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) \
	    || { sed -n 1p README.md >&2; exit 1; }; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "Broadcaster needs Python 3.11 or later and $(PYTHON) is $$version: choose another with PYTHON=." >&2; exit 1; }; \
	{ $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip --version; } >/dev/null 2>&1 \
	    || { rm -f $@; sed -n 1p README.md >&2; exit 1; }
