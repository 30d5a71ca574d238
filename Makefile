# Everything is installed into .venv; `make clean` takes it away again.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := packaging/constraints.txt
DEMO_OUTPUT := demo-output

.DEFAULT_GOAL := help
.PHONY: help demo test check pictures texts clean

help:
	@echo "make demo      the built-in case: results and pictures in $(DEMO_OUTPUT)/, then the window if there is a display"
	@echo "make test      the tests"
	@echo "make check     format, lint, types, imports, and the engine's tests without Qt"
	@echo "make pictures  the screenshots of the guide at three sizes, on a virtual screen (needs Xvfb)"
	@echo "make texts     the template of translations, from the texts of the window"
	@echo "make clean     remove $(VENV) and everything that was built"

demo: $(VENV)/.installed
	$(BIN)/regard demo --force --out $(DEMO_OUTPUT)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python packaging/run_without_qt.py tests/engine

pictures: $(VENV)/.installed
	$(BIN)/python packaging/make_pictures.py $(ARGS)

texts:
	$(PYTHON) packaging/make_texts.py

clean:
	rm -rf $(VENV) build dist *.egg-info $(DEMO_OUTPUT)
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find app engine packaging resources tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: $(BIN)/python pyproject.toml $(CONSTRAINTS)
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e .
	@touch $@

$(VENV)/.installed-test: $(BIN)/python pyproject.toml $(CONSTRAINTS)
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e ".[test]"
	@touch $(VENV)/.installed $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "Regard needs Python 3.11 to 3.13 and found no $(PYTHON); install it, or name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "Regard needs Python 3.11 to 3.13; $(PYTHON) is `$(PYTHON) --version`. Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
