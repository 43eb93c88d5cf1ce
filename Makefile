# make demo   the whole road on the built-in data set (needs python3 only)
# make test   all tests (builds FFCV: needs a C++ compiler, OpenCV and libjpeg-turbo; installs
#             them, and chromium, where it may)
# make lint   ruff
# make docs   the documentation as a site in build/site, its generated pages made anew
# Other Python, other place:  make PYTHON=python3.12 VENV=/tmp/venv demo

PYTHON ?= python3
VENV ?= .venv
export PYTHON
# Threads that wait spin only briefly: where processes share the cores, threads that spin for long
# slow each other down many times over.
export GOMP_SPINCOUNT ?= 1000
SETUP_INPUTS := setup.py fastneg/version.py .ci/setup-venv

.PHONY: demo test lint docs clean

demo: $(VENV)/.train
	$(VENV)/bin/fastneg demo --out demo-run

test: $(VENV)/.test lint
	$(VENV)/bin/python .ci/run_tests.py

lint: $(VENV)/.test
	$(VENV)/bin/python -m ruff check .

docs: $(VENV)/.docs
	$(VENV)/bin/python .ci/make_reference.py
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict -f .ci/mkdocs.yml

clean:
	rm -rf $(VENV) demo-run build *.egg-info

$(VENV)/.train: $(SETUP_INPUTS)
	.ci/setup-venv $(VENV) train
	touch $@

$(VENV)/.docs: $(VENV)/.train
	.ci/setup-venv $(VENV) docs
	touch $@

$(VENV)/.test: $(VENV)/.train .ci/setup-ffcv .ci/setup-browser
	.ci/setup-ffcv $(VENV)
	.ci/setup-browser
	touch $@
