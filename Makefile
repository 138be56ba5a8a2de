# Everything here is one plain command below a prepared environment; each can be typed by hand (see README.md).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: quickstart test lint bench bench-peers results clean help
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

quickstart: $(READY)  ## simulate recordings, train, compile, simulate the programs, compare (about 2 minutes)
	$(BIN)/sastdeploy quickstart

test: $(READY)  ## the whole test suite
	$(BIN)/python -m pytest

lint: $(VENV)/.ready-dev  ## style, types and the two import walls
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(READY): pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c .ci/constraints.txt -e '.[test]'
	touch $@

$(VENV)/.ready-dev: $(READY)
	$(BIN)/python -m pip install --quiet -c .ci/constraints.txt -e '.[test,dev,tonic]'
	touch $@

bench: $(READY)  ## speed of this machine, without other frameworks (about a minute)
	$(BIN)/python benchmarks/speed/run.py --work .bench

bench-peers: .venv-peers/.ready  ## the same beside snnTorch, SpikingJelly, sinabs, Norse, XyloSim, tonic; writes PERFORMANCE.md
	.venv-peers/bin/python benchmarks/speed/run.py --work .bench --peers $(BENCH_OPTIONS)

.venv-peers/.ready: pyproject.toml .ci/constraints.txt benchmarks/speed/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet -c .ci/constraints.txt -e '.[test]' -r benchmarks/speed/peers.txt
	touch $@

results: $(READY)  ## write the paper's results.json, tables and figures from the records, and their numbers into the pages
	$(BIN)/python benchmarks/paper/assemble.py
	$(BIN)/python benchmarks/paper/quoted.py --write

clean:  ## remove the environment and everything built
	rm -rf $(VENV) .venv-peers .bench build dist .pytest_cache .hypothesis .ruff_cache .mypy_cache
