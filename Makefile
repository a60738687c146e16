# Everything runs from a virtual environment that is made on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CORES := $(shell nproc 2>/dev/null || echo 2)

# Compiled modules are kept, which is most of the start of every command.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: eval test test-long test-slow bench lint serve clean

eval: $(STAMP)  ## score every baseline on the starter suite
	$(BIN)/ssl-bench eval --model all --suite starter

test: $(STAMP)  ## the default tests: no network, under ten minutes on two cores
	$(BIN)/python -m pytest -n $(CORES) --dist worksteal

test-long: $(STAMP)  ## whole commands, sites and encoders: ten minutes more; no network either
	$(BIN)/python -m pytest -n $(CORES) --dist worksteal -m long

test-slow: $(STAMP)  ## crashes of nodes, workers and databases: a minute or more each
	$(BIN)/python -m pytest -m slow

bench: $(STAMP)  ## speed: the probe against scikit-learn, the engine against bare loops
	$(BIN)/python tests/bench/probe.py --quick
	$(BIN)/python tests/bench/embedding.py
	$(BIN)/python tests/bench/encoders.py --reduced --examples 16
	$(BIN)/python tests/bench/preparing.py --formats audio,wfdb,h5,video --mb 200 --workers 2
	$(BIN)/python tests/bench/site.py --encoders 100 --tasks 30 --seconds 10

lint: $(STAMP)  ## lint, format, types, import rule
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

serve: $(STAMP) eval  ## the leaderboard with the starter run on http://127.0.0.1:8000
	$(BIN)/ssl-bench serve --load runs/starter

clean:
	rm -rf $(VENV) build dist .ruff_cache .mypy_cache .pytest_cache .hypothesis

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("ssl-bench needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
