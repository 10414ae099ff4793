# make demo | test | test-quick | sanitize | bench | bench-kernels | bench-edgecl | arm | arm-full | boot-test | wheels | packages | docs | lint | clean
# An active virtual environment is used; without one, .venv is made here.

PYTHON ?= python3
ACTIVE := $(shell $(PYTHON) -c 'import sys; print(sys.prefix if sys.prefix != sys.base_prefix else "")')
VENV := $(if $(ACTIVE),$(ACTIVE),$(CURDIR)/.venv)
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install -q
OUT := $(CURDIR)/out

.PHONY: demo test test-quick build-tools wheel-test sanitize bench bench-kernels bench-edgecl arm arm-full boot-test wheels packages arm-tools docs lint clean
.DEFAULT_GOAL := test

$(PY):
	$(PYTHON) -m venv $(VENV)

# Naive training beside SparCL-DER++ at 90 % sparsity with the carousel, both inside 96 MB. Installs no torch.
# A wheel in dist/ that fits this Python and processor spares the compiler.
FITTING := $(OUT)/fitting
demo: $(PY)
	rm -rf $(FITTING) && mkdir -p $(FITTING) dist
	-$(PY) -m pip download -q --no-deps --no-index --only-binary :all: --find-links dist -d $(FITTING) edgecl 2>/dev/null
	w=$$(ls $(FITTING)/*.whl 2>/dev/null); echo "installing $${w:-from source}"; $(PIP) "$${w:-.}[cli]"
	rm -rf $(OUT)/demo
	$(VENV)/bin/edgecl demo --out $(OUT)/demo

# From an editable install, then a part once more against the built wheel from another folder. The build's own tools
# stand in the environment, so that the wheel is made of what the first build compiled.
BUILD := 'scikit-build-core>=0.10' 'nanobind>=2.4' cmake ninja
PYTEST := -m pytest -n logical --dist worksteal
# Hundreds of tests start processes: each would compile the package anew where the environment forbids to keep it.
test test-quick wheel-test: export PYTHONDONTWRITEBYTECODE :=
test test-quick wheel-test: export PYTHONPYCACHEPREFIX := $(OUT)/pycache
test: build-tools
	$(PIP) -c constraints.txt --no-build-isolation -e '.[test]' torch
	$(PY) $(PYTEST)
	$(MAKE) wheel-test

# What a change most likely breaks, in a minute.
QUICK := $(addprefix tests/,structure learner/test_learner.py engine/test_contract.py kernels/test_layers.py \
  graph/test_network.py devices/test_profile.py cli/test_output.py storage/test_store.py pins)
test-quick: build-tools
	$(PIP) -c constraints.txt --no-build-isolation -e '.[test]' torch
	$(PY) $(PYTEST) $(QUICK)

build-tools: $(PY)
	$(PIP) -c constraints.txt $(BUILD)

WHEEL_TESTS := cli/test_output.py
wheel-test: build-tools
	rm -rf $(OUT)/wheel && mkdir -p $(OUT)/wheel
	$(PY) -m pip wheel -q --no-deps --no-build-isolation -w $(OUT)/wheel .
	$(PIP) --force-reinstall --no-deps $(OUT)/wheel/*.whl
	cd $(OUT)/wheel && $(PY) -P $(PYTEST) -c ../../pyproject.toml --rootdir=../.. $(WHEEL_TESTS:%=../../tests/%)

# The compiled parts with AddressSanitizer and UndefinedBehaviorSanitizer, under their tests.
sanitize: $(PY)
	$(PIP) -c constraints.txt cmake ninja 'nanobind>=2.4' numpy lmdb psutil safetensors pytest pytest-xdist hypothesis jsonschema
	PATH=$(VENV)/bin:$$PATH .ci/sanitize $(PY)

# The tables of docs/performance.md, in pieces of at most a minute each, merged into bench/results. In an environment
# with edgecl, torch, onnxruntime and sparseprop (see bench/sparseprop.py). RUN='...' is put before every piece.
RESULTS := bench/results
bench-kernels:
	set -e; for g in $$($(PY) bench/step.py --list); do \
	  $(RUN) $(PY) bench/step.py --group $$g --json $(RESULTS)/step.json; done
	set -e; for n in resnet18:32 resnet20:32 mobilenetv2:32; do \
	  $(RUN) $(PY) bench/mask_update.py --nets $$n --json $(RESULTS)/mask_update.json; \
	  $(RUN) $(PY) bench/contention.py --nets $$n --contenders edgecl --json $(RESULTS)/contention.json; done
	$(RUN) $(PY) bench/layers.py --nets resnet18:32 --densities 1 --json $(RESULTS)/layers.json
	set -e; for n in resnet18:32 resnet18:8 resnet20:32 resnet20:8 mobilenetv2:32 ds_cnn:16; do \
	  $(RUN) $(PY) bench/layers.py --nets $$n --json $(RESULTS)/layers.json; \
	  if [ $$n != ds_cnn:16 ]; then \
	    $(RUN) $(PY) bench/saved_activations.py --part time --nets $$n --json $(RESULTS)/saved_activations.json; fi; done
	set -e; for d in 0.1 0.05; do \
	  $(RUN) $(PY) bench/sparseprop.py --densities $$d --json $(RESULTS)/sparseprop.json; done
	set -e; for b in shapes prediction; do \
	  if [ -f bench/$$b.py ]; then $(RUN) $(PY) bench/$$b.py --json $(RESULTS)/$$b.json; fi; done
	$(RUN) $(PY) bench/contention.py --contenders torch --json $(RESULTS)/contention.json
	$(RUN) $(PY) bench/memory.py --scopes import --json $(RESULTS)/memory.json
	$(PY) bench/memory.py --scopes bare run --json $(RESULTS)/memory.json
	$(PY) bench/performance.py

# `edgecl bench` as a user sees it, on this machine and modelled for every device: JSON and plots in bench/results/edgecl.
EDGECL := $(VENV)/bin/edgecl
NETS := --net cnn,resnet20
SHOWN := $(RESULTS)/edgecl
bench-edgecl:
	mkdir -p $(SHOWN)
	set -e; for b in latency memory; do \
	  $(RUN) $(EDGECL) bench $$b $(NETS) --json $(SHOWN)/$$b.json --plot $(SHOWN)/$$b.svg; done
	$(RUN) $(EDGECL) bench flash --json $(SHOWN)/flash.json --plot $(SHOWN)/flash.svg
	set -e; for b in latency energy; do \
	  $(EDGECL) bench $$b $(NETS) --device all --threads 4 --json $(SHOWN)/$${b}_devices.json \
	    --plot $(SHOWN)/$${b}_devices.svg; done

# The aarch64 wheel, run, counted and booted under QEMU; needs root and Debian's cross tools (docs/arm.md).
arm-tools: $(PY)
	$(PIP) $(BUILD) wheel auditwheel

arm: arm-tools
	$(PY) tests/arm make

arm-full: arm-tools
	$(PY) tests/arm full

# A booted arm64 system of 512 MB with systemd, under QEMU: the service installed, used, killed, hung and stopped.
boot-test: arm-tools
	$(PY) tests/arm service

# manylinux wheels for x86-64 and aarch64 in out/wheels, each installed and tried without a compiler.
wheels: arm-tools
	$(PY) tests/arm wheels

# Debian packages, an OCI image and SBOMs of the wheels there are, in out/packages (apt-get install umoci mmdebstrap).
packages: $(PY)
	$(PIP) -c constraints.txt 'cyclonedx-python-lib>=11'
	$(PY) deploy/packages.py out/wheels/*.whl --out out/packages

bench: $(PY)
	$(PIP) -c constraints.txt '.[bench]'
	cd $(OUT) 2>/dev/null || mkdir -p $(OUT)
	for b in step store; do $(PY) bench/$$b.py --json $(OUT)/$$b.json || exit 1; done

# The site in out/site: warnings are errors, no link leads nowhere, no page asks anybody else for anything.
docs: build-tools
	$(PIP) -c constraints.txt --no-build-isolation '.[docs]'
	rm -rf $(OUT)/site && mkdir -p $(OUT)
	cd $(OUT) && $(PY) -P -m sphinx -q -W --keep-going -b html $(CURDIR)/docs site
	$(PY) -P tests/docs/site.py $(OUT)/site

lint: $(PY)
	$(PIP) ruff mypy '.[test]'
	$(PY) -m ruff check edgecl storage tests bench examples docs deploy
	cd $(OUT) 2>/dev/null || mkdir -p $(OUT)
	cd $(OUT) && $(PY) -m mypy --config-file $(CURDIR)/pyproject.toml -p edgecl

clean:
	rm -rf build dist out .venv
