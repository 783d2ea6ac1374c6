# Everything that is done with a clone; `make` lists it.
# Needs GNU make and Python 3.11 or newer. All else is installed into .venv, once.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN := .venv/bin
PYTHONS := python3.13 python3.12 python3.11 python3.14 python3 python

# Both set for one call: make test ARGS="-k drift", make test PYTHON=/usr/bin/python3.12
ARGS ?=
PYTHON ?=

# All cores. Each begins with half of the files, so that what the tests of a file share is mostly
# made once, and takes over from the other when it is done.
PARALLEL := --numprocesses auto --dist worksteal

# An environment whose interpreter is gone, as after an upgrade of the system, is made again.
ifneq ($(shell test -x $(BIN)/python && echo works),works)
$(shell rm -f .venv/*.stamp)
endif

.PHONY: help
help: ## List these targets
	@echo "Gyroscope, the autopilot for tabular models in production. Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

.PHONY: demo
demo: .venv/demo.stamp ## Watch a model through six weeks of real flights, in a minute or two
	@$(BIN)/gyro demo $(ARGS)
	@echo "The command gyro is in $(BIN): first run  . $(BIN)/activate"

.PHONY: test
test: .venv/dev.stamp ## Run the tests, without the slow ones, and measure their coverage
	@$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term $(ARGS)
	@echo "Passed. Next: make check, and make slow for the long simulations."

.PHONY: slow
slow: .venv/dev.stamp ## Run the slow tests: long simulations and whole-machine tests
	@$(BIN)/python -m pytest $(PARALLEL) -m slow $(ARGS)

.PHONY: check
check: .venv/dev.stamp ## Check format, lint, types and the layers of the imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: format
format: .venv/dev.stamp ## Format the code, and mend what the linter can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: bench
bench: .venv/dev.stamp ## Measure what docs and README claim about speed
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python -m benchmarks.$$(basename "$$script" .py) $(ARGS); done

.PHONY: bench-drift
bench-drift: .venv/dev.stamp ## Compare column drift with other tools; installs them, takes an hour or two
	@$(BIN)/python -m benchmarks.drift $(ARGS)

.PHONY: install
install: .venv/dev.stamp ## Make .venv with all that development needs
	@echo "Ready. Next: . $(BIN)/activate, then gyro --help."

.PHONY: constraints
constraints: .venv/dev.stamp ## Pin all dependencies anew; with ARGS=--upgrade to newer versions
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 \
		--extra demo --extra dev --extra xgboost --extra catboost --extra openssf \
		--no-annotate --no-header --quiet \
		--output-file constraints.txt $(ARGS)
	@{ echo "# Pinned versions for Python 3.11 and newer on Linux and macOS, of the extras too"; \
		echo "# (mlflow excepted: it needs an older PyArrow). Written by: make constraints"; \
		sed -e '/^#/d' -e 's/ ;.*//' constraints.txt; } > constraints.new
	@mv constraints.new constraints.txt
	@echo "constraints.txt is written; the next target that needs .venv installs it."

.PHONY: clean
clean: ## Remove all that was made here, .venv included
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis \
		.coverage .coverage.* .benchmarks dist build gyroscope-demo
	@find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# --- the virtual environment -----------------------------------------------------------------

.venv/demo.stamp: EXTRAS := demo
.venv/dev.stamp: EXTRAS := demo,dev,xgboost
.venv/demo.stamp .venv/dev.stamp: pyproject.toml constraints.txt hatch_build.py \
		$(wildcard src/gyroscope/kernels/*.[ch])
	@$(find_python)
	@echo "Installing Gyroscope with its extras $(EXTRAS) into .venv: one to five minutes ..."
	@if [ -t 1 ]; then quiet=; else quiet=--quiet; fi; \
	$(BIN)/python -m pip install $$quiet --disable-pip-version-check --no-compile \
		--constraint constraints.txt --editable '.[$(EXTRAS)]'
	@$(BIN)/python -c 'import lightgbm' || { \
		echo "LightGBM cannot be loaded. If libgomp or libomp is missing: install libgomp1"; \
		echo "(Debian, Ubuntu), libgomp (Fedora) or libomp (Homebrew), then repeat."; \
		exit 1; } >&2
	@touch .venv/demo.stamp $@
	@echo "Installed."

# Makes .venv unless a working one is there. An interpreter is tried by running it: those on the
# PATH may be launchers of a version that is not installed, or lack the module ensurepip.
define find_python
if $(BIN)/python -c '' 2>/dev/null; then exit 0; fi; \
for python in "$(PYTHON)" $(PYTHONS); do \
	if "$$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' \
			2>/dev/null; then \
		echo "Making .venv with $$("$$python" --version) ..."; \
		"$$python" -m venv --clear .venv; \
		exit 0; \
	fi; \
done; \
{ echo "No Python 3.11 or newer with its venv module among: $(PYTHONS)."; \
  echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv), or name it:"; \
  echo "  make $(MAKECMDGOALS) PYTHON=/path/to/python3.12"; } >&2; \
exit 1
endef
