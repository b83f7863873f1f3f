# Two commands do everything on a fresh machine: `make demo` and `make test`. Both begin with `make setup`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Processes that share the tests, of one thread each.
WORKERS ?= 2

.PHONY: help setup demo test test-slow check clean
help:
	@echo "make demo       install into $(VENV), turn 'a red mushroom' into an asset, say where it lies"
	@echo "make test       install into $(VENV), run the tests in $(WORKERS) processes (WORKERS=n for others)"
	@echo "make test-slow  the tests that take minutes"
	@echo "make check      lint, types, layering, examples in the docs"

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

setup: $(VENV)/.ready

demo: setup
	$(BIN)/scorelift generate "a red mushroom" --out runs/demo --resume
	@echo "Open runs/demo/asset.glb in any 3-D viewer, runs/demo/report.html in a browser."

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS)

test-slow: setup
	$(BIN)/python -m pytest -m slow

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --doctest-modules src/scorelift --ignore src/scorelift/kernels/hash_encoding_triton.py \
		--doctest-glob "*.md" docs README.md

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache
