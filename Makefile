# Everything a checkout can do. Each target sets up what it needs, in .venv, and nothing elsewhere.
# Needs Python 3.11 or newer with venv, and make.

PYTHON ?= $(or $(shell command -v python3.11),python3)
WORKERS ?= 2
# A part of each test is waiting: one worker more than cores.
BUSY := $(shell expr $(WORKERS) + 1)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet

# Hundreds of processes of the tests would each compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

# Tests write and flush tens of thousands of small files: in memory, where there is enough of it.
ROOMY := $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$6 == "/dev/shm" && $$4 > 8000000 {print $$6}')
MEMORY := $(shell awk '/^MemAvailable/ && $$2 > 12000000 {print "enough"}' /proc/meminfo 2>/dev/null)
ifneq ($(and $(ROOMY),$(MEMORY)),)
test tests test-all ui: export TMPDIR = $(ROOMY)
endif

# Two cores are shared by the tests' workers; a thread pool in each would only make them wait.
test tests ui bench: export OMP_NUM_THREADS = 1

# Browser tests need Debian's chromium; root installs it, anybody else is told. CI never leaves them out.
HAS_CHROMIUM = command -v chromium >/dev/null
# Tests of launches on Slurm start one of their own; it is installed in the same way.
HAS_SLURM = (PATH="$$PATH:/usr/sbin"; command -v sbatch && command -v slurmctld && command -v munged) >/dev/null
APT_INSTALL = apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends

.DEFAULT_GOAL := help
.PHONY: help demo test tests test-all browser slurm dev lint types ui shots migration wheel bench gpu

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

demo: .venv/.runtime  ## train a small model here and open the pages on it (DEMO_ARGS adds flags)
	@$(BIN)/branchtrack demo $(DEMO_ARGS)

# The types keep one core busy for a minute, while the tests' workers are still collecting.
test: lint browser slurm  ## lint, types and all tests
	@$(MAKE) --no-print-directory --jobs 2 types tests

tests: .venv/.dev
	@marks="not bench and not scenario and not exhaustive"; \
	if [ -z "$(CI)" ] && ! $(HAS_CHROMIUM); then \
		echo "No chromium here: the browser tests are left out (apt-get install chromium)."; \
		marks="$$marks and not browser"; \
	fi; \
	if [ -z "$(CI)" ] && ! $(HAS_SLURM); then \
		echo "No Slurm here: the tests of launches on it are left out (apt-get install slurm-wlm munge)."; \
		marks="$$marks and not slurm"; \
	fi; \
	$(BIN)/python -u -m pytest -n $(BUSY) --dist loadfile -m "$$marks" $(TEST_ARGS)

test-all: .venv/.dev  ## what takes longer: every case of every matrix, and reported situations as whole scripts
	@OMP_NUM_THREADS=1 BRANCHTRACK_MATRIX=all $(BIN)/python -u -m pytest -n $(BUSY) -q tests/training/test_matrix.py
	@OMP_NUM_THREADS=2 BRANCHTRACK_TEST_THREADS=2 $(BIN)/python -u -m pytest -q -m "not exhaustive" \
		tests/training/test_matrix.py tests/training/test_loop_exactness.py
	@OMP_NUM_THREADS=1 $(BIN)/python -u -m pytest -n $(BUSY) -q -m "exhaustive and not bench" \
		--ignore tests/training/test_matrix.py tests
	@marks=scenario; \
	[ -n "$(CI)" ] || $(HAS_SLURM) || { echo "No Slurm here: its scenario is left out."; marks="scenario and not slurm"; }; \
	OMP_NUM_THREADS=1 $(BIN)/python -u -m pytest -n $(BUSY) --dist loadgroup -q -m "$$marks" tests/scenarios tests/examples/autoresearch

browser:
	@$(HAS_CHROMIUM) || ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ] || { \
		echo "Installing Debian's chromium for the browser tests."; \
		($(APT_INSTALL) chromium fonts-liberation) >/dev/null; \
	}

slurm:
	@$(HAS_SLURM) || ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ] || { \
		echo "Installing Debian's slurm-wlm and munge for the tests of launches on Slurm."; \
		($(APT_INSTALL) slurm-wlm munge) >/dev/null; \
	}

dev: .venv/.dev  ## install for development
	@echo "Ready. Run $(BIN)/branchtrack, or one test with $(BIN)/python -m pytest -k NAME."

lint: .venv/.dev  ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: .venv/.dev  ## mypy, strict
	@$(BIN)/mypy

ui: .venv/.dev browser  ## the browser tests alone (needs Chromium)
	@$(BIN)/python -m pytest -m "browser and not bench" $(TEST_ARGS)

shots: .venv/.dev  ## screenshots of every page, light, dark and narrow, into output/shots
	@$(BIN)/python -m tests.browser.shots output/shots

migration: .venv/.dev  ## draft a migration from the tables: make migration SLUG=add_notes
	@test -n "$(SLUG)" || { echo "Say what it does: make migration SLUG=add_notes"; exit 2; }
	@home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && export BRANCHTRACK_HOME="$$home" && \
	number=$$(ls migrations/versions/[0-9]*.py | wc -l) && \
	$(BIN)/alembic upgrade head && \
	$(BIN)/alembic revision --autogenerate -m "$(SLUG)" --rev-id "$$(printf %04d $$((number + 1)))"

wheel: .venv/.dev  ## build dist/*.whl and the source archive
	@$(BIN)/python -m build --no-isolation

bench: .venv/.dev  ## measure against the budgets, alone and in order
	@$(BIN)/python -m pytest -m bench -p no:xdist $(TEST_ARGS)

gpu: .venv/.dev  ## what holds on a GPU, in output/gpu; says plainly where there is none
	@$(BIN)/python -m tests.benchmarks.gpu

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "branchtrack needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
			echo "Installing Debian's python3-venv." && ($(APT_INSTALL) python3-venv) >/dev/null; } || \
		{ echo "This Python cannot make environments. On Debian: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/.runtime: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing branchtrack and what it runs on into .venv (some minutes the first time)."
	@$(PIP) install -c constraints.txt -e .
	@touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing branchtrack and the tools to develop it into .venv (some minutes the first time)."
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@touch .venv/.runtime $@
