# `make quickstart` and `make test` need only Python (3.10 or newer), make and, for fused neurons, g++.
# PYTHON picks the interpreter; PIP_ARGS goes to pip, for example an index with CPU-only wheels of torch.
PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
INSTALL := python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
BENCH_ARGS ?=
TEST_ARGS ?=

.PHONY: quickstart reproduce test torture test-peers test-page test-sinabs lint docs docs-fast package release bench bench-gpu clean

quickstart: .venv/runtime.stamp
	$(BIN)/hiresnn quickstart

# The tables and figures of the paper, for example: make reproduce SCALE=cpu ARGS='table2 --data cifar10=cifar10.npz'
SCALE ?= smoke
ARGS ?= all
reproduce: .venv/paper.stamp
	$(BIN)/python -m reproduction --scale $(SCALE) $(ARGS)

test: .venv/develop.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(TEST_ARGS)

# Seeded campaigns that kill, fill disks and damage files; TORTURE_MINUTES=20, TORTURE_SEED=0.
torture: .venv/develop.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture

test-peers: .venv-peers/peers.stamp
	OMP_NUM_THREADS=1 .venv-peers/bin/python -m pytest -n 2 --dist worksteal tests/foreign tests/exchange tests/app/test_export.py

# Execute docs/deploy.md, which trains, exports and audits: minutes.
test-page: .venv-peers/peers.stamp
	HIRESNN_PAGES=1 OMP_NUM_THREADS=1 .venv-peers/bin/python -m pytest tests/exchange/test_page.py

test-sinabs: .venv-sinabs/sinabs.stamp
	OMP_NUM_THREADS=1 .venv-sinabs/bin/python -m pytest tests/exchange tests/foreign -k sinabs

lint: .venv/develop.stamp
	$(BIN)/ruff format --check src reproduction tests examples benchmarks .ci
	$(BIN)/ruff check src reproduction tests examples benchmarks .ci
	$(BIN)/mypy

# The documentation site in build/docs. A warning fails the build, but the site has all pages. docs-fast executes no cells.
DOCS = OMP_NUM_THREADS=1 PYTHONPATH="$(CURDIR)" PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python docs/build.py
docs: .venv/docs.stamp
	@$(DOCS)

docs-fast: .venv/docs.stamp
	@$(DOCS) --fast

# Build the wheel and the sdist in dist/, and check both as a user meets them: installed, outside the checkout.
package: .venv/develop.stamp
	rm -rf dist
	$(BIN)/python -m build --no-isolation >/dev/null
	.ci/package

# make release VERSION=0.3.0 sets the version, commits, builds, checks and tags. It never pushes.
release: .venv/develop.stamp
	$(BIN)/python .ci/release.py "$(VERSION)"

# BENCH_ARGS goes to the benchmark, for example BENCH_ARGS='step robust --run runs/vgg5-cifar10-cpu-traditional-seed0'.
bench: .venv-bench/bench.stamp
	.venv-bench/bin/python benchmarks/run.py $(BENCH_ARGS)

bench-gpu: .venv-bench/bench.stamp
	.venv-bench/bin/python benchmarks/gpu.py $(BENCH_ARGS)

clean:
	rm -rf .venv .venv-peers .venv-bench .venv-sinabs .venv-matrix build dist .pytest_cache .mypy_cache .ruff_cache

# Other environments than .venv: the tests' own must work without the peers, torchattacks (.venv-bench) pins old
# versions of requests, and sinabs one of nir that cannot read newer files.
.PRECIOUS: .venv%/bin/python
.venv%/bin/python:
	$(PYTHON) -m venv .venv$* || { rm -rf .venv$*; exit 1; }

.venv/bin/python:
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/runtime.stamp: pyproject.toml | .venv/bin/python
	$(BIN)/$(INSTALL) --editable .
	touch $@

.venv/develop.stamp: pyproject.toml | .venv/bin/python
	$(BIN)/$(INSTALL) --editable '.[test,lint,release]'
	touch $@ .venv/runtime.stamp

.venv/paper.stamp: pyproject.toml | .venv/bin/python
	$(BIN)/$(INSTALL) --editable '.[paper]'
	touch $@ .venv/runtime.stamp

.venv/docs.stamp: pyproject.toml | .venv/bin/python
	$(BIN)/$(INSTALL) --editable '.[docs]'
	touch $@ .venv/runtime.stamp

.venv-peers/peers.stamp: pyproject.toml | .venv-peers/bin/python
	.venv-peers/bin/$(INSTALL) --editable '.[test,peers]'
	touch $@

.venv-bench/bench.stamp: pyproject.toml | .venv-bench/bin/python
	.venv-bench/bin/$(INSTALL) --editable '.[bench]'
	touch $@

.venv-sinabs/sinabs.stamp: pyproject.toml | .venv-sinabs/bin/python
	.venv-sinabs/bin/$(INSTALL) --editable . pytest beartype 'sinabs>=3.1' 'nir<=1.0.4' 'nirtorch<2'
	touch $@
