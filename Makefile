# Everything a contributor or an operator runs. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# Without column ranges tracebacks parse no code: on 3.11 that, met by a garbage collection, ends pytest itself.
PYTEST := PYTHONNODEBUGRANGES=1 $(BIN)/python -m pytest
# Most tests wait for processes and deadlines. Whole files, because a file's tests may share an installation, in the order
# of the folders: acceptance begins, or its few long tests would come last, one after the other. Browsers and
# the chaos have the machine for themselves: a page that waits for a starved process is no finding. Two browsers, each
# with a demo of its own, leave half of it idle: pages wait for holds.
BESIDE := --numprocesses=3 --dist=loadfile --no-loadscope-reorder
BROWSERS := --numprocesses=2 --dist=loadfile
CHAOS := tests/acceptance/test_chaos.py::test_nothing_is_lost_whatever_dies
# Hashes alone decide what may be installed. Bytecode is compiled at first import: that halves the install.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-input --no-compile
NEEDED_BY_LOCK := --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --system-certs --quiet

# A stamp is worth nothing where its environment's Python has gone, as after an upgrade of the system's.
ifneq ($(shell $(BIN)/python -c 'print("works")' 2>/dev/null),works)
$(shell rm -f $(VENV)/.installed $(VENV)/.testable)
endif
INSTALLED := $(VENV)/.installed
TESTABLE := $(VENV)/.testable

define CANNOT_INSTALL
The dependencies could not be installed; pip says above why. Often: no way to the package registry (is a proxy
needed?), or no binaries for this machine (the embedded servers are for glibc 2.28 or newer on x86-64 and ARM64).
endef
export CANNOT_INSTALL

# The tests that send all our SQL to a database; they are run a second time, on Debian's PostgreSQL 15.
SENDING_SQL := $(wildcard tests/integration/test_migrations.py tests/integration/test_store*.py \
    tests/integration/test_clock.py tests/integration/test_metrics.py tests/integration/web/test_reading.py)

# What the commands below take from the command line.
ARGS ?=
SEEDS ?= 0:100000
SECONDS_OF_CHAOS ?= 600

##@ Use
.PHONY: install
install: $(INSTALLED) ## make .venv with the locked dependencies and the `lettrage` command

.PHONY: demo
demo: install ## play a few families through a whole installation (ARGS=--once ends by itself)
	$(BIN)/lettrage demo $(ARGS)

##@ Test
.PHONY: test
test: $(TESTABLE) test-machine ## install what the tests need and run all of them
	$(PYTEST) -m "not nightly" $(BESIDE) --deselect=$(CHAOS) --ignore=tests/browser $(ARGS)
	$(PYTEST) -m "not nightly" --older-postgres $(BESIDE) $(SENDING_SQL)
	$(PYTEST) -m "not nightly" $(BROWSERS) tests/browser
	$(PYTEST) -m "not nightly" $(CHAOS)

.PHONY: check
check: $(TESTABLE) ## lint, types, import contracts, SQL, alert rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/squawk --config .squawk.toml worker/store/migrations/*.sql
	@$(MAKE) check-alerts

.PHONY: check-alerts
check-alerts:
	@rules=$$(find monitoring/alerts -name '*.yml' -not -name '*_test.yml'); \
	if ! command -v promtool >/dev/null; then echo "alert rules not linted: no promtool (apt-get install prometheus)"; \
	else promtool check rules $$rules; fi

.PHONY: simulate
simulate: $(TESTABLE) ## seeded simulation for hours: SEEDS=first:last or one seed
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

.PHONY: chaos
chaos: $(TESTABLE) ## real processes under faults, longer than in `make test` (SECONDS_OF_CHAOS)
	LETTRAGE_CHAOS_SECONDS=$(SECONDS_OF_CHAOS) $(PYTEST) --timeout=0 -s tests/acceptance/test_chaos.py $(ARGS)

.PHONY: mutations
mutations: $(TESTABLE) ## remove one rule at a time; each must turn a test red
	$(BIN)/python -m tests.mutations $(ARGS)

.PHONY: nightly
nightly: $(TESTABLE) test-machine check ## everything at full length: big tables, long chaos, mutations, 100,000 seeds
	LETTRAGE_CHAOS_SECONDS=$(SECONDS_OF_CHAOS) $(PYTEST) --timeout=0 $(ARGS)
	$(PYTEST) --timeout=0 --older-postgres $(SENDING_SQL)
	@$(MAKE) mutations simulate

.PHONY: bench
bench: $(TESTABLE) ## measure, and write docs/performance.md's table
	$(BIN)/python -m bench $(ARGS)

##@ Change
.PHONY: format
format: $(TESTABLE) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: schema
schema: $(TESTABLE) ## write docs/schema.sql from the migrations
	$(BIN)/python -m tests.schema > docs/schema.sql.new
	mv docs/schema.sql.new docs/schema.sql

.PHONY: contracts
contracts: $(TESTABLE) ## write docs/api from the code: OpenAPI, AsyncAPI, JSON Schemas
	$(BIN)/python -m tests.contracts write

.PHONY: contracts-released
contracts-released: $(TESTABLE) ## from now on clients rely on docs/api as it is (at a release)
	$(BIN)/python -m tests.contracts release

.PHONY: lock
lock: ## resolve the dependencies again and write .lock/ (ARGS=--upgrade takes newer ones)
	@tools=$$(mktemp -d); trap 'rm -rf "$$tools"' EXIT; \
	$$(bash .lock/python) -m venv "$$tools"; \
	"$$tools/bin/python" -m pip install --quiet --disable-pip-version-check uv; \
	compile() { env -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS -u UV_DEFAULT_INDEX UV_NO_CONFIG=1 \
	    "$$tools/bin/uv" pip compile $(NEEDED_BY_LOCK) $(ARGS) pyproject.toml "$$@"; }; \
	compile --group build -o .lock/runtime.txt; \
	compile --extra otel --group build --group test -c .lock/runtime.txt -o .lock/test.txt; \
	! grep -nE '://|file:|(^|[[:space:]])/' .lock/*.txt

##@ Help
.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} \
	    /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	    /^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): .lock/runtime.txt pyproject.toml .lock/venv
	@bash .lock/venv $(VENV)
	@echo "installing the locked dependencies into $(VENV)" >&2
	@$(PIP_INSTALL) --require-hashes -r .lock/runtime.txt || { echo "$$CANNOT_INSTALL" >&2; exit 1; }
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(TESTABLE): .lock/test.txt $(INSTALLED)
	@echo "installing what the tests need into $(VENV)" >&2
	@$(PIP_INSTALL) --require-hashes -r .lock/test.txt
	@touch $@

# A browser, an older PostgreSQL and Prometheus: from Debian where we may, otherwise what is there.
.PHONY: test-machine
test-machine:
	@bash .ci/machine
