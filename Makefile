# The two commands of the README are `make demo` and `make test`. Each first makes a virtual environment in .venv and installs the
# project into it; nothing outside this folder is changed.
#
#   make demo             an honest and a rogue agent under the guard
#   make test             the tests (ARGS='-k name' chooses)
#   make lint             format, lints, import contracts, types
#   make wheel            dist/*.whl
#   make clean            removes what the others made
#
# PYTHON=/path/to/python chooses the interpreter, VENV=folder the place of the environment.

VENV ?= .venv
PYTHON ?=
ARGS ?=
RUN = $(VENV)/bin/python
PIP = PYTHONWARNINGS='ignore:Editable installation' $(RUN) -m pip --quiet --disable-pip-version-check

.PHONY: demo test lint wheel clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	$(RUN) examples/run.py $(ARGS)

test: $(VENV)/.dev
	$(RUN) -m pytest $(ARGS)

lint: $(VENV)/.dev
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(VENV)/bin/lint-imports
	$(RUN) -m mypy

wheel: $(VENV)/.dev
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .

clean:
	rm -rf $(VENV) build dist guardproxy.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# pip 25.1 is the first that knows dependency groups.
$(VENV)/.installed: pyproject.toml .ci/find-python
	python="$$(PYTHON='$(PYTHON)' sh .ci/find-python)" && "$$python" -m venv $(VENV)
	$(PIP) install --upgrade 'pip>=25.1'
	$(PIP) install --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(PIP) install --group dev --editable '.[train]'
	touch $@
