# make train [ARGS="..."]   set everything up once, then train (default: strategy=kd+reparam model=ghostnetv2 data=digits)
# make test  [ARGS="..."]   set everything up once, then run the tests
# make test-litert          those of LiteRT, in an environment on top of the other
PYTHON ?= python3
VENV ?= .venv
ARGS ?=

.PHONY: train test test-litert setup clean

train: $(VENV)/.train
	$(VENV)/bin/python train.py $(if $(strip $(ARGS)),$(ARGS),strategy=kd+reparam model=ghostnetv2)

test: $(VENV)/.test
	$(VENV)/bin/python -m pytest $(ARGS)

# What LiteRT's converter needs slows every other test down (torchmetrics imports transformers where it is installed).
test-litert: $(VENV)-litert/.test
	$(VENV)-litert/bin/python -m pytest -n 0 tests/deploy/export/test_formats.py -k litert $(ARGS)

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

$(VENV)-litert/.test: $(VENV)/.test
	$(VENV)/bin/python -m venv $(VENV)-litert
	$(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$(echo $(VENV)-litert/lib/python3*/site-packages)/under.pth"
	$(VENV)-litert/bin/python -m pip install --quiet --editable '.[litert]'
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-litert build *.egg-info .mypy_cache .ruff_cache .pytest_cache
