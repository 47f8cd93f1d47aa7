# WattRoute: `make demo` to see it work, `make test` for every check.
#
# PYTHON=...  the Python that makes the virtual environment, 3.11 or newer
# VENV=...    where to make it
# ARGS=...    arguments for pytest

PYTHON ?=
VENV ?= .venv
ARGS ?=

# modules are compiled when first used and kept: see .ci/install.py
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint typecheck unit smoke test-oldest test-upstream check-report docs wheel clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

venv: $(VENV)/.installed ## make the virtual environment

$(VENV)/.installed: pyproject.toml .ci/install.py
	@python=$$(sh .ci/find_python $(PYTHON)) && "$$python" .ci/install.py $(VENV) train client serve collect ray sweep dev
	@touch $@

demo: venv ## train, benchmark and try a router on the default runs
	@$(VENV)/bin/wattroute demo

test: lint typecheck smoke unit ## every check, as CI runs them

lint: venv ## ruff
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check

typecheck: venv ## mypy, strict
	@sh .ci/typecheck $(VENV)/bin/python

smoke: venv ## the wheel, installed with its core dependencies alone
	@$(VENV)/bin/python .ci/smoke_wheel.py

unit: venv ## pytest
	@$(VENV)/bin/pytest $(ARGS)

test-oldest: venv ## the tests of the core with the oldest dependencies allowed
	@$(VENV)/bin/python .ci/test_oldest.py

test-upstream: venv ## the client, the proxy and collecting against real llama.cpp servers (compiles)
	@$(VENV)/bin/python .ci/install_upstream.py .venv-upstream
	@WATTROUTE_UPSTREAM_PYTHON="$$PWD/.venv-upstream/bin/python" $(VENV)/bin/pytest tests/upstream $(ARGS)

docs: ## the documentation as a site, in build/site
	@python=$$(sh .ci/find_python $(PYTHON)) && "$$python" .ci/install.py .venv-docs docs
	@sh .ci/docs .venv-docs/bin/python

check-report: venv ## open a report in headless Chromium (needs Node; ARGS=REPORT.html for another)
	@sh .ci/check_report/run $(VENV)/bin/wattroute $(ARGS)

wheel: venv ## source distribution and wheel, in dist/
	@$(VENV)/bin/python -m build --outdir dist

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
