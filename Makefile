# make demo | test | bench | lint | clean
# An active virtual environment is used; without one, .venv is made here.

PYTHON ?= python3
ACTIVE := $(shell $(PYTHON) -c 'import sys; print(sys.prefix if sys.prefix != sys.base_prefix else "")')
VENV := $(if $(ACTIVE),$(ACTIVE),$(CURDIR)/.venv)
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install -q
OUT := $(CURDIR)/out

.PHONY: demo test wheel-test bench lint clean
.DEFAULT_GOAL := test

$(PY):
	$(PYTHON) -m venv $(VENV)

# Naive training beside SparCL-DER++ at 90 % sparsity with the carousel, both inside 96 MB. Installs no torch.
COMMON := --stream split-mnist5k --ram 96MB --device rpi_4b
SPARCL := --method der++ --alpha 0.2 --beta 1 --sparsity 0.9 --gradient-keep 0.8 --remove 0.3

demo: $(PY)
	$(PIP) '.[cli]'
	rm -rf $(OUT)/demo
	$(VENV)/bin/edgecl data get split-mnist5k
	$(VENV)/bin/edgecl run $(COMMON) --method naive --out $(OUT)/demo/naive
	$(VENV)/bin/edgecl run $(COMMON) $(SPARCL) --store $(OUT)/demo/store --out $(OUT)/demo/sparcl
	$(VENV)/bin/edgecl compare $(OUT)/demo/naive/run.json $(OUT)/demo/sparcl/run.json

# From an editable install, then once more against the built wheel from another folder.
test: $(PY)
	$(PIP) -c constraints.txt -e '.[test]' torch
	$(PY) -m pytest
	$(MAKE) wheel-test

wheel-test: $(PY)
	rm -rf $(OUT)/wheel && mkdir -p $(OUT)/wheel
	$(PY) -m pip wheel -q --no-deps -w $(OUT)/wheel .
	$(PIP) --force-reinstall --no-deps $(OUT)/wheel/*.whl
	cd $(OUT)/wheel && $(VENV)/bin/pytest -c ../../pyproject.toml --rootdir=../.. ../../tests/learner ../../tests/cli

bench: $(PY)
	$(PIP) -c constraints.txt '.[bench]'
	cd $(OUT) 2>/dev/null || mkdir -p $(OUT)
	for b in step store; do $(PY) bench/$$b.py --json $(OUT)/$$b.json || exit 1; done

lint: $(PY)
	$(PIP) ruff mypy '.[test]'
	$(PY) -m ruff check edgecl storage tests bench
	cd $(OUT) 2>/dev/null || mkdir -p $(OUT)
	cd $(OUT) && $(PY) -m mypy --config-file $(CURDIR)/pyproject.toml -p edgecl

clean:
	rm -rf build dist out .venv
