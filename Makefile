# `make run` and `make test` need python3 (3.11 or 3.12), make and a network the first time; nothing else.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run setup develop test test-slow test-bench test-long test-cluster check audit evaluate bench soak chaos format lock

run: setup
	@exec $(BIN)/tonetrack up

setup: .venv/run.done

develop: .venv/test.done  # what tests and training need besides: 5 GB, torch for the most part

# Each has a core, as the service's processes have; threads that spin for each other would take the other's away.
TWO_AT_A_TIME := --numprocesses 2 --dist loadgroup
test test-slow: export OMP_NUM_THREADS = 1

test: .venv/test.done
	$(BIN)/pytest -m "not slow and not bench and not long and not cluster" $(TWO_AT_A_TIME)

test-slow: .venv/test.done
	$(BIN)/pytest -m slow $(TWO_AT_A_TIME)

# The quick forms of `make bench` and `make chaos`; one at a time, for the first measures, and the second loads the machine.
test-bench: .venv/test.done
	$(BIN)/pytest -m bench

# One at a time, for they load the machine: ten thousand hostile recorders, all of two hundred hostile files, training.
test-long: .venv/test.done
	$(BIN)/pytest -m long

# As root, on Linux: hosts and containers of the tests' own, of the kernel's namespaces.
test-cluster: .venv/test.done
	$(BIN)/pytest -m cluster

LOCKS := $(wildcard requirements/*.lock)

check: .venv/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Needs api.osv.dev. Strict: what nobody knows of is an error, for it would otherwise pass as harmless.
audit: .venv/test.done
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --vulnerability-service osv $(LOCKS:%=--requirement %)

# Needs the corpora that `tonetrack evaluate speakers` tells of; ARGS goes to it: `make evaluate ARGS=--full`.
evaluate: .venv/test.done
	$(BIN)/tonetrack evaluate speakers $(ARGS)

# How soon the service answers, what it carries and what that costs; ARGS=--quick takes less of it; ARGS=--help. Whether
# it carries that for two minutes, three times, takes 25 minutes more: ARGS="--only held --report build/held.json"; what
# four hours of one session take, 20 more: ARGS="--only hours --report build/hours.json".
bench: .venv/test.done
	$(BIN)/python -m tests.benchmarks $(ARGS)

# Sessions that come and go for an hour, to see whether anything grows; ARGS=--minutes=10 takes less. Fails if it does.
soak: .venv/test.done
	$(BIN)/python -m tests.soak $(ARGS)

# Breaks a running service in every way that we know of, a quarter of an hour; ARGS=--help tells how to choose. Needs cc.
chaos: .venv/test.done
	$(BIN)/python -m tests.chaos $(ARGS)

format: .venv/test.done
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Needs uv; rewrites the locked files from pyproject.toml. Those of the container's larger targets name what they add.
COMPILE := uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11
ADDED = $$(sed -nE "/'never'/!s/^([a-z0-9._-]+)==.*/--no-emit-package \1/p" requirements/run.lock)
lock:
	$(COMPILE) --extra test -o requirements/test.lock pyproject.toml
	$(COMPILE) -c requirements/test.lock --override requirements/run.overrides -o requirements/run.lock pyproject.toml
	$(COMPILE) -c requirements/test.lock --override requirements/run.overrides --extra gpu $(ADDED) -o requirements/gpu.lock pyproject.toml
	$(COMPILE) -c requirements/test.lock --extra train $(ADDED) -o requirements/train.lock pyproject.toml

.venv/%.done: requirements/%.lock pyproject.toml
	@$(PYTHON) -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null || \
	  { echo "ToneTrack needs Python 3.11 or 3.12 with venv; '$(PYTHON)' is not one. Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo "Installing what requirements/$*.lock names (a few minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
