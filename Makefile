# `make quickstart` and `make test` need only Python (3.10 or newer), make and, for fused neurons, g++.
# PYTHON picks the interpreter; PIP_ARGS goes to pip, for example an index with CPU-only wheels of torch.
PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)

.PHONY: quickstart test test-peers lint bench clean

quickstart: .venv/runtime.stamp
	$(BIN)/hiresnn quickstart

test: .venv/develop.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-peers: .venv/peers.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/foreign

lint: .venv/develop.stamp
	$(BIN)/ruff format --check src tests examples benchmarks
	$(BIN)/ruff check src tests examples benchmarks
	$(BIN)/mypy

bench: .venv/bench.stamp
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/runtime.stamp: pyproject.toml | .venv/bin/python
	$(INSTALL) --editable .
	touch $@

.venv/develop.stamp: pyproject.toml | .venv/bin/python
	$(INSTALL) --editable '.[test,lint]'
	touch $@ .venv/runtime.stamp

.venv/peers.stamp: pyproject.toml | .venv/bin/python
	$(INSTALL) --editable '.[test,peers]'
	touch $@ .venv/runtime.stamp

.venv/bench.stamp: pyproject.toml | .venv/bin/python
	$(INSTALL) --editable '.[bench]'
	touch $@ .venv/runtime.stamp
