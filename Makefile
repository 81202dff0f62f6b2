# Exactly two commands do all set-up: `make demo` and `make test`. The others build on them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check lint types docs format bench bench-avalanche reproduce-foundation reproduce-richness reproduce-theory reproduce-good-start reproduce-halrp reproduce-plasticity coordinate-check clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/holdfast study demo --out out/demo

test: $(STAMP)
	$(BIN)/python -m pytest -n auto -q

check: lint types docs test

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks

# The same work in Avalanche, in an environment of its own.
.bench/avalanche/.installed: benchmarks/avalanche-constraints.txt
	$(PYTHON) -m venv .bench/avalanche
	.bench/avalanche/bin/python -m pip install --quiet -c $< avalanche-lib
	touch $@

bench-avalanche: .bench/avalanche/.installed
	OMP_NUM_THREADS=1 .bench/avalanche/bin/python -m benchmarks.avalanche

reproduce-foundation: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.reproduce_foundation

reproduce-richness: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.reproduce_richness

reproduce-theory: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.reproduce_theory

reproduce-good-start: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.reproduce_good_start

reproduce-halrp: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.reproduce_halrp

reproduce-plasticity: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.reproduce_plasticity

coordinate-check: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.coordinate_check

clean:
	rm -rf $(VENV) .bench site out .mypy_cache .ruff_cache .pytest_cache
