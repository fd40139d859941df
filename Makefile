# What a newcomer needs: `make serve`, `make test`, `make check`. ARGS is handed on.
.DEFAULT_GOAL := help
.PHONY: help install serve test check bench wheel-test clients demo-model clean

BIN := .venv/bin
STAMP := .venv/.installed
CLIENTS := docs/examples/.venv/.installed

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

install: $(STAMP)  ## build .venv from uv.lock; does nothing when nothing changed

$(STAMP): pyproject.toml uv.lock hatch_build.py scripts/install
	@scripts/install
	@touch $@

serve: install  ## serve the built-in demo model; ARGS="MODEL --port 9000"
	@exec $(BIN)/mlx-serving serve $(ARGS)

test: install clients  ## run all tests; ARGS="-k name"
	$(BIN)/python -m pytest $(ARGS)

check: install  ## format, lint, types, layers and sizes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_sizes.py

bench: install  ## measure what serving costs and how long a recovery takes; ARGS=--quick
	$(BIN)/python -m benchmarks $(ARGS)

wheel-test: install  ## build the wheel, install it alone and test it
	$(BIN)/python scripts/wheel_test.py

clients: $(CLIENTS)  ## install the client libraries that docs/examples uses, apart from .venv

$(CLIENTS): docs/examples/uv.lock docs/examples/package-lock.json scripts/install_clients | $(STAMP)
	@scripts/install_clients
	@touch $@

demo-model: install  ## train the built-in model anew (about an hour on two cores)
	@scripts/install --extra demo
	$(BIN)/python -m demo.train --out demo/model $(ARGS)
	$(BIN)/python -m demo.evaluate --model demo/model --questions 50 --json demo/evaluation.json

clean:  ## remove caches and build results, not .venv
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name .venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
