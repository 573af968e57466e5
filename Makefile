# make demo        the tutorial's programs beside a worker, on a fresh machine
# make check       format, lint, types, floors
# make test        all tests (starts its own Redis)
# make test-fast   those that take less than a minute together
# make storm       kills, freezes and cuts over thousands of tasks: ENGINE, SEED, SECONDS
# make histories   ten thousand random histories against a model of the promises
# make guarantees  measures the table of docs/guarantees.md, Celery beside it
# make pythons     test, with each of PYTHONS
# make docs        writes docs/settings.md and the tables of docs/moving-from-celery.md
# make bench       umbel beside Celery and six other queues, in 20 minutes (bench-quick: in one);
#                  bench-docs writes what it found into docs/performance.md

SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
export PYTHON

# make test PYTHON=python3.13 takes another interpreter, in environments of its own.
ifeq ($(origin PYTHON),command line)
DEV := build/$(notdir $(PYTHON))
DEMO := build/demo-$(notdir $(PYTHON))
else
DEV := .venv
# Most tests wait for processes of their own: three at a time take half of the time on two cores.
# Those beside Celery run one after the other: both houses in one process would know of other tests.
PYTEST := .venv/bin/pytest -n 3 --dist loadfile
DEMO := build/demo
endif
BIN := $(DEV)/bin
INSTALL := pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation

.PHONY: demo check format test test-fast pythons bench bench-quick bench-docs storm histories guarantees requirements docs clean

# The demo has an environment of its own: in the developers' one the real Celery, against which
# the wire is tested, would answer to the name celery.
$(DEMO)/.ready: requirements/base.txt requirements/build.txt scripts/environment pyproject.toml \
		$(wildcard packages/umbel-as-celery/*)
	scripts/environment $(DEMO) build base
	$(DEMO)/bin/$(INSTALL) -e .
	$(DEMO)/bin/$(INSTALL) --force-reinstall ./packages/umbel-as-celery
	touch $@

$(DEV)/.ready: requirements/dev.txt scripts/environment pyproject.toml
	scripts/environment $(DEV) dev
	$(BIN)/$(INSTALL) -e .
	touch $@

demo: $(DEMO)/.ready
	$(DEMO)/bin/python examples/demo.py

check: $(DEV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV)/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: $(DEV)/.ready
	scripts/redis
	$(PYTEST) --ignore tests/interop
	$(BIN)/pytest tests/interop

test-fast: $(DEV)/.ready
	scripts/redis
	$(PYTEST) -m "not slow"

PYTHONS ?= python3.11 python3.12 python3.13
pythons:
	for python in $(PYTHONS); do $(MAKE) --no-print-directory test PYTHON=$$python || exit 1; done

# The other queues have environments of their own: their pins are not ours, nor each other's.
build/bench/.ready: requirements/bench.txt requirements/bench-arq.txt scripts/environment
	scripts/environment build/bench bench
	scripts/environment build/bench-arq bench-arq
	touch $@

bench: $(DEV)/.ready build/bench/.ready
	scripts/redis
	$(BIN)/python bench/run.py
	for script in depth growth wide scaling fairness steps; do \
		echo $$script && $(BIN)/python bench/$$script.py || exit 1; \
	done
	$(BIN)/python bench/report.py

bench-quick: $(DEV)/.ready
	scripts/redis
	$(BIN)/python bench/run.py --quick --json bench/out/quick.json

# What make bench measured, into docs/performance.md.
bench-docs: $(DEV)/.ready
	$(BIN)/python bench/report.py --write

ENGINE ?= redis sqlite
SECONDS ?= 60
storm: $(DEV)/.ready
	scripts/redis
	for engine in $(ENGINE); do \
		$(BIN)/python tests/reliability/storm.py --engine $$engine --seconds $(SECONDS) \
			$(if $(SEED),--seed $(SEED)) || exit 1; \
	done

histories: $(DEV)/.ready
	HISTORIES=$(or $(HISTORIES),10000) $(BIN)/pytest -q tests/reliability/test_histories.py

guarantees: $(DEV)/.ready
	scripts/redis
	$(BIN)/python scripts/guarantees.py --write

# Pins with hashes for every platform, and no index addresses.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make requirements"

requirements: $(DEV)/.ready
	$(BIN)/pip install --quiet uv
	$(COMPILE) pyproject.toml --output-file requirements/base.txt
	$(COMPILE) pyproject.toml --extra redis --output-file requirements/redis.txt
	$(COMPILE) pyproject.toml --extra dev --output-file requirements/dev.txt
	for name in build bench bench-arq; do \
		$(COMPILE) requirements/$$name.in --output-file requirements/$$name.txt || exit 1; \
	done

docs: $(DEV)/.ready
	$(BIN)/python scripts/settings_page.py > docs/settings.md
	$(BIN)/python scripts/option_tables.py > docs/.tables && mv docs/.tables docs/moving-from-celery.md

clean:
	rm -rf build .venv
