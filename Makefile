# One word a task; `make` alone lists them. Needs Python 3.11 or later with venv, nothing else.

PYTHON ?= python3
BASE_PORT ?= 10000
RUN = .venv/.run
TEST = .venv/.test
TOGETHER = tests/unit tests/contract tests/numeric tests/dialog tests/model tests/fuzz tests/crash
OURS = echomox workers shm setup.py tests

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  \1	/p' $(MAKEFILE_LIST) | expand -t 10

run: $(RUN) ## a throwaway server on loopback with two accounts, in the foreground; prints how to use it
	@.venv/bin/echomox quickstart --demo --dir .run/demo --base-port $(BASE_PORT) --reuse
	@exec .venv/bin/echomox-supervisor start --config .run/demo/config

test: $(TEST) ## all tests; those whose tools are missing are skipped, or fail if CI=true
	.venv/bin/pytest -n 2 $(TOGETHER)
	.venv/bin/pytest tests/process tests/interop

check: lint types layers unit ## before every commit

unit: $(TEST) ## the tests of pure code, in seconds
	.venv/bin/pytest tests/unit

bench: $(TEST) ## the loads and their table of figures
	.venv/bin/python -m tests.bench

soak: $(TEST) ## a month of a small organisation in a quarter of an hour, with faults, and its accounting
	.venv/bin/python -m tests.soak

fuzz: $(TEST) ## the fuzz targets and the model of IMAP, for long
	HYPOTHESIS_PROFILE=long .venv/bin/pytest tests/fuzz tests/model tests/dialog/test_stress.py tests/process/test_imap_stress.py

lint: $(TEST) ## style
	.venv/bin/ruff check $(OURS)

types: $(TEST) ## types
	.venv/bin/mypy

layers: $(TEST) ## the import order
	.venv/bin/python tests/layers.py

conf: $(RUN) ## the commented samples in conf/, from the schema
	.venv/bin/echomox config describe static > conf/echomox.toml
	.venv/bin/echomox config describe dynamic > conf/domains.toml

clean: ## the virtual environment and the throwaway server
	rm -rf .venv .run

$(RUN): setup.py
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q --disable-pip-version-check -e .
	@touch $@

$(TEST): setup.py $(RUN)
	.venv/bin/pip install -q --disable-pip-version-check -e '.[test]'
	@touch $@

.PHONY: help run test check unit bench soak fuzz lint types layers conf clean
