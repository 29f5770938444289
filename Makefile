# make train [ARGS="..."]   set everything up once, then train (default: strategy=kd+reparam model=ghostnetv2 data=digits)
# make test  [ARGS="..."]   set everything up once, then run the tests
PYTHON ?= python3
VENV ?= .venv
ARGS ?=

.PHONY: train test setup clean

train: $(VENV)/.train
	$(VENV)/bin/python train.py $(if $(strip $(ARGS)),$(ARGS),strategy=kd+reparam model=ghostnetv2)

test: $(VENV)/.test
	$(VENV)/bin/python -m pytest $(ARGS)

setup: $(VENV)/.test

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ghostlab needs Python 3.11 or newer; name one with PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.train

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
