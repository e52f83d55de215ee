# `make run` and `make test` need python3 (3.11 or 3.12), make and a network the first time; nothing else.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run setup develop test test-slow check evaluate format lock

run: setup
	@exec $(BIN)/tonetrack up

setup: .venv/run.done

develop: .venv/test.done  # what tests and training need besides: 5 GB, torch for the most part

test: .venv/test.done
	$(BIN)/pytest -m "not slow"

test-slow: .venv/test.done
	$(BIN)/pytest -m slow

check: .venv/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Needs the corpora that `tonetrack evaluate speakers` tells of; ARGS goes to it: `make evaluate ARGS=--full`.
evaluate: .venv/test.done
	$(BIN)/tonetrack evaluate speakers $(ARGS)

format: .venv/test.done
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Needs uv; rewrites the two locked files from pyproject.toml.
lock:
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --extra test -o requirements/test.lock pyproject.toml
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -c requirements/test.lock --override requirements/run.overrides -o requirements/run.lock pyproject.toml

.venv/%.done: requirements/%.lock pyproject.toml
	@$(PYTHON) -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null || \
	  { echo "ToneTrack needs Python 3.11 or 3.12 with venv; '$(PYTHON)' is not one. Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo "Installing what requirements/$*.lock names (a few minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
