# make train [ARGS="..."]   set everything up once, then train (default: strategy=kd+reparam model=ghostnetv2 data=digits)
# make test  [ARGS="..."]   set everything up once, then run the tests
# make test-fast            those that take less than a fifth of a second each, which are most of them
# make test-lowest          the same with the lowest versions of all that is needed, in an environment of their own
# make test-litert          those of LiteRT, in an environment on top of the other
# make test-sanitized       those of the C++ kernels, with sanitizers of addresses and of undefined behaviour in them
# make docs                 the pages as a site, in build/site
# make mutations [ARGS=...] whether the tests notice small mutations of the package; ARGS: a word of the files to mutate
PYTHON ?= python3
VENV ?= .venv
ARGS ?=

# Tests start hundreds of processes, each of which would compile torch, timm and Lightning anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: docs train test test-fast test-lowest test-litert test-sanitized mutations setup clean

train: $(VENV)/.train
	$(VENV)/bin/python train.py $(if $(strip $(ARGS)),$(ARGS),strategy=kd+reparam model=ghostnetv2)

test: $(VENV)/.test
	$(VENV)/bin/python -m pytest $(ARGS)

test-fast: $(VENV)/.test
	$(VENV)/bin/python -m pytest --fast $(ARGS)

# Without the extras, whose packages have bounds of their own.
LOWEST = tests/data tests/distill tests/models tests/reparam tests/runs tests/statistics tests/strategies tests/training
test-lowest: $(VENV)-lowest/.test
	$(VENV)-lowest/bin/python -m pytest --fast $(LOWEST) $(ARGS)

# What LiteRT's converter needs slows every other test down (torchmetrics imports transformers where it is installed).
test-litert: $(VENV)-litert/.test
	$(VENV)-litert/bin/python -m pytest -n 0 tests/deploy/export/test_formats.py -k litert $(ARGS)

# A compiler that fails would leave nothing to test, so that the kernels are built first.
SANITIZED = CXX='env -u LD_PRELOAD g++ -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all' \
	GHOSTLAB_CACHE=build/sanitized ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=3 \
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so) $$(g++ -print-file-name=libstdc++.so)" \
	$(VENV)/bin/python
test-sanitized: $(VENV)/.test
	$(SANITIZED) -c 'import sys, torch; from ghostlab.kernels import native as a; from ghostlab.reparam.online import native as b; sys.exit(not all(m.kernels(t) for m in (a, b) for t in (torch.float32, torch.float64)))''
	$(SANITIZED) -m pytest -n 0 tests/reparam/test_depthwise_geometry.py tests/reparam/test_depthwise_forms.py tests/kernels/test_native.py -k 'not triton' $(ARGS)

mutations: $(VENV)/.test
	$(VENV)/bin/python tests/mutations.py $(ARGS)

docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict --quiet
	@echo build/site/index.html

setup: $(VENV)/.test

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ghostlab needs Python 3.11 or newer; name one with PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: pyproject.toml | $(VENV)/bin/python
	@echo "installing into $(VENV): with torch's CUDA builds about 5 GB, some minutes"
	$(VENV)/bin/python -m pip install --progress-bar on --editable .
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.train

$(VENV)-litert/.test: $(VENV)/.test
	$(VENV)/bin/python -m venv $(VENV)-litert
	$(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$(echo $(VENV)-litert/lib/python3*/site-packages)/under.pth"
	$(VENV)-litert/bin/python -m pip install --quiet --editable '.[litert]'
	@touch $@

$(VENV)-lowest/.test: pyproject.toml
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python tests/lowest.py > $(VENV)-lowest/constraints.txt
	$(VENV)-lowest/bin/python -m pip install --constraint $(VENV)-lowest/constraints.txt --editable . pytest pytest-xdist
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-litert build *.egg-info .mypy_cache .ruff_cache .pytest_cache
