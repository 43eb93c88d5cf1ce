# make demo   the whole road on the built-in data set (needs python3 only)
# make test   all tests (builds FFCV: needs a C++ compiler, OpenCV and libjpeg-turbo; installs them where it may)
# make lint   ruff
# Other Python, other place:  make PYTHON=python3.12 VENV=/tmp/venv demo

PYTHON ?= python3
VENV ?= .venv
export PYTHON
# Threads that wait without spinning: where processes share the cores, spinning ones slow each other down many times over.
export OMP_WAIT_POLICY ?= passive
SETUP_INPUTS := setup.py fastneg/version.py .ci/setup-venv

.PHONY: demo test lint clean

demo: $(VENV)/.train
	$(VENV)/bin/fastneg demo --out demo-run

test: $(VENV)/.test lint
	$(VENV)/bin/python -m pytest

lint: $(VENV)/.test
	$(VENV)/bin/python -m ruff check .

clean:
	rm -rf $(VENV) demo-run build *.egg-info

$(VENV)/.train: $(SETUP_INPUTS)
	.ci/setup-venv $(VENV) train
	touch $@

$(VENV)/.test: $(VENV)/.train .ci/setup-ffcv
	.ci/setup-ffcv $(VENV)
	touch $@
