# Everything here is one plain command below a prepared environment; each can be typed by hand (see README.md).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JOBS ?= 2
OLDEST_TESTS := tests/test_frames_record.py tests/test_checkpoint.py tests/test_fixedpoint.py tests/test_program_file.py \
	tests/test_program_damaged_file.py tests/test_simulator_equality.py tests/test_training_loop.py \
	tests/test_training_sharpness.py tests/test_cli_road.py

FRAMEWORK_TESTS := tests/test_compatibility.py tests/test_export_nir_package.py tests/test_import_delays.py tests/test_import_floors.py \
	tests/test_import_modules.py tests/test_import_neuron_parameters.py tests/test_import_norse_sinabs.py tests/test_import_recurrent.py \
	tests/test_import_recurrent_modules.py tests/test_import_refractory.py tests/test_import_rockpool.py \
	tests/test_import_several_spikes.py tests/test_import_starts.py tests/test_neurobench.py tests/test_own_decays.py \
	tests/test_trained_codes.py

.PHONY: quickstart test test-oldest test-frameworks lint bench bench-peers results clean help
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

quickstart: $(READY)  ## simulate recordings, train, compile, simulate the programs, compare; then small frame values (1 and 4 minutes)
	$(BIN)/sastdeploy quickstart

test: $(READY)  ## the whole test suite, with JOBS processes (2)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

test-oldest: .venv-oldest/.ready  ## a fast part of the tests with the oldest versions that pyproject.toml allows
	SASTDEPLOY_PROGRAMS=10 .venv-oldest/bin/python -m pytest -q $(OLDEST_TESTS)

test-frameworks: $(VENV)/.ready-dev .frameworks/.ready  ## the tests that need snnTorch, SpikingJelly, Norse, sinabs, rockpool, brevitas, nir and neurobench
	PYTHONPATH=.frameworks $(BIN)/python -m pytest -q $(FRAMEWORK_TESTS)

lint: $(VENV)/.ready-dev  ## style, types and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(READY): pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c .ci/constraints.txt -e '.[test]'
	touch $@

.frameworks/.ready: .ci/frameworks.txt $(READY)
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target .frameworks -r .ci/frameworks.txt
	touch $@

$(VENV)/.ready-dev: $(READY)
	$(BIN)/python -m pip install --quiet -c .ci/constraints.txt -e '.[test,dev,tonic,aedat4]'
	touch $@

.venv-oldest/.ready: pyproject.toml .ci/constraints-oldest.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet -c .ci/constraints-oldest.txt -e '.[test]'
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
	rm -rf $(VENV) .venv-oldest .frameworks .venv-peers .bench build dist .pytest_cache .hypothesis .ruff_cache .mypy_cache
