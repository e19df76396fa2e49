# Every target runs in the environment of run.py; PYTHON=... names another one.

VENV   ?= $(or $(TURNLEDGER_VENV),.venv)
PYTHON ?= $(VENV)/bin/python
UV     ?= uv
RUN     = $(PYTHON) -m
# Hundreds of processes are started: where nothing may be kept each compiles all of our sources anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: check check-static format format-check lint layers types test fresh coverage bench growth chaos mutants \
        pgbouncer panel-shots constraints environment

check: check-static coverage test

# All of `check` that is not the tests.
check-static: format-check lint layers types fresh

environment:
ifeq ($(PYTHON),$(VENV)/bin/python)
	@TURNLEDGER_VENV=$(abspath $(VENV)) python3 run.py install
endif

format: environment
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

format-check: environment
	$(RUN) ruff format --check .

lint: environment
	$(RUN) ruff check .

layers: environment
	$(dir $(PYTHON))lint-imports

types: environment
	$(RUN) mypy

test: environment
	$(RUN) pytest -q -n 3

# What is generated is as the code would generate it now.
fresh: environment
	$(RUN) api openapi --check
	$(RUN) pytest -q tests/tidy

# Every branch of the core is taken by its own tests.
coverage: environment
	TURNLEDGER_TEST_STEPS=1000 $(RUN) pytest -q tests/session tests/tidy/test_state_machine.py \
	    --cov=api.session --cov-branch --cov-fail-under=100 --cov-report=term:skip-covered

bench: environment
	$(RUN) bench

# A million sessions beside a thousand.
growth: environment
	$(RUN) bench.growth

# Kills everything at random and checks what remains; CHAOS="--turns 20000 --kills 60" is the long form.
chaos: environment
	$(RUN) tests.chaos $(CHAOS)

# Puts faults into the product, one at a time: the chaos programme must find each.
mutants: environment
	$(RUN) tests.chaos.mutation

# The service, and what is said of the database elsewhere, behind a PgBouncer in transaction mode: `apt install
# pgbouncer`, or TURNLEDGER_PGBOUNCER=/path/to/one. From 1.21 on with prepared statements and without.
POOLED = tests/store/test_sessions.py tests/store/test_streaming.py tests/store/test_running.py \
         tests/store/test_budgets.py tests/store/test_corrections.py tests/runner/test_loop.py
pgbouncer: environment
	$(RUN) pytest -q tests/e2e/behind_pgbouncer.py
	TURNLEDGER_TEST_PGBOUNCER=on $(RUN) pytest -q -n 2 $(POOLED)

# A picture of every main view of the panel, for people to look at: light and dark, wide and narrow.
SHOTS ?= build/panel-shots
panel-shots: environment
	$(RUN) tests.panel.views $(SHOTS)

# No URLs and no hosts in there: each machine fetches from where it is told to.
constraints:
	$(UV) pip compile --quiet --universal --python-version 3.11 --all-extras --no-header --no-annotate \
	    --no-emit-index-url --no-emit-find-links --upgrade --output-file constraints.txt pyproject.toml
