# Everything a fresh machine needs is Python 3.11 to 3.13 and make:
#
#   make demo   make the environment .venv and write a report into demo/
#   make test   the same environment, and run the tests
#   make docs   build the documentation site into site/
#   make lint   style, types and the import contract
#   make clean  remove all of the above

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# What `make demo` computes; another run: make demo REPORT="--activation silu --depth 20"
REPORT = --activation relu --activation tanh --activation gelu --depth 8 --width 64 --data digits
PAGE = demo/report.html

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo test docs lint clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#   make/  make/p' Makefile

demo: $(VENV)/installed
	@mkdir -p $(dir $(PAGE))
	$(BIN)/finitewidth report $(REPORT) --out $(PAGE)
	@echo
	@echo "Open in a browser: file://$(CURDIR)/$(PAGE)"

test: $(VENV)/installed-test
	$(BIN)/pytest

docs: $(VENV)/installed-docs
	$(BIN)/mkdocs build --strict

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) demo site

# One stamp file per set of packages: a package set is installed once, and again only if
# pyproject.toml changes.
$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "finitewidth needs Python 3.11, 3.12 or 3.13; got: $$($(PYTHON) --version 2>&1)." \
			"Name another one: make demo PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/created pyproject.toml
	@echo "Installing finitewidth into $(VENV) (once, a minute or two)"
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	@echo "Installing what the tests need (once)"
	@$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	@echo "Installing what the documentation needs (once)"
	@$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@
