# Run the study and check the project. Needs GNU make and Python 3.11, 3.12 or 3.13; `make lock` also uv.
#
#   PYTHON=python3.12   the Python to make the environment from (default: that of VENV, or else python3)
#   VENV=.venv          the folder of the environment

VENV ?= .venv
PYTHON ?= $(or $(wildcard $(VENV)/bin/python),python3)
UV ?= uv

SUPPORTED := 3.11 3.12 3.13
MINOR = import sys; print("%d.%d" % sys.version_info[:2])
VERSION := $(shell $(PYTHON) -c '$(MINOR)' 2>/dev/null)
PINS := requirements/py$(subst .,,$(VERSION))
RUN := $(VENV)/bin/python
# The pins are complete, and what is imported is compiled then: half the time of a plain install.
INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-compile

.PHONY: help paper test test-all lint lock clean check-python
.DELETE_ON_ERROR:

help: ## Print this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 18

paper: $(VENV)/study.stamp ## Reproduce the study, in minutes: tables and figures in results/quick
	$(RUN) scripts/paper.py --preset quick

test: $(VENV)/dev.stamp ## Run the tests, without those marked long
	$(RUN) -m pytest -q -n 2 --dist worksteal -m "not long and not bitwise"
	XLA_FLAGS= $(RUN) -m pytest -q -n 2 --dist loadfile -m "bitwise and not long"

test-all: $(VENV)/spark.stamp ## Run all tests, compiled as users compile; those of Spark need Java too, those of the report Chromium
	XLA_FLAGS= $(RUN) -m pytest -q

lint: $(VENV)/dev.stamp ## Check style, format and types
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m basedpyright --pythonpath $(RUN)

lock: ## Resolve the pins of every supported Python anew
	$(foreach v,$(SUPPORTED),$(call compile,$(v),,The study))
	$(foreach v,$(SUPPORTED),$(call compile,$(v),-dev,The study and the tools of development,--extra dev --extra bench,))
	$(foreach v,$(SUPPORTED),$(call compile,$(v),-spark,All that and Spark and a browser,--extra dev --extra bench --extra spark --extra browser,-dev))

clean: ## Remove the environment and the caches; results stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- how the environment comes about ---

# The study: its pins, and the project itself, as it stands in this folder.
$(VENV)/study.stamp: $(PINS).txt pyproject.toml src/jvade/version.py | $(VENV)/bin/pip
	@echo "Installing $(PINS).txt into $(VENV)"
	@$(INSTALL) --requirement $(PINS).txt
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@

# What development needs on top of it.
$(VENV)/dev.stamp: $(PINS)-dev.txt $(VENV)/study.stamp
	@echo "Installing $(PINS)-dev.txt into $(VENV)"
	@$(INSTALL) --requirement $(PINS)-dev.txt
	@touch $@

# What the tests on Spark need on top of it.
$(VENV)/spark.stamp: $(PINS)-spark.txt $(VENV)/dev.stamp
	@echo "Installing $(PINS)-spark.txt into $(VENV)"
	@$(INSTALL) --requirement $(PINS)-spark.txt
	@touch $@

$(VENV)/bin/pip: | check-python
	@$(PYTHON) -m venv $(VENV)

$(PINS).txt $(PINS)-dev.txt $(PINS)-spark.txt: | check-python

check-python:
	@case " $(SUPPORTED) " in *" $(VERSION) "*) ;; *) \
	  echo "jvade needs Python $(SUPPORTED); $(PYTHON) is $(or $(VERSION),not there)." \
	    "Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1;; esac
	@found=$$($(RUN) -c '$(MINOR)' 2>/dev/null || echo none); \
	if test "$$found" != none && test "$$found" != "$(VERSION)"; then \
	  echo "$(VENV) is of Python $$found, $(PYTHON) is $(VERSION): first 'make clean', or name another VENV" >&2; \
	  exit 1; fi

# $(call compile,PYTHON VERSION,SUFFIX,TITLE,EXTRAS,SUFFIX BELOW): one pin file, which agrees with the one below it.
define compile
@file=requirements/py$(subst .,,$(1))$(2).txt; \
{ echo "# $(3), on Python $(1): exact versions. Made by 'make lock'; edit pyproject.toml instead." && \
  $(UV) pip compile --quiet --universal --fork-strategy fewest --python-version $(1) \
    --no-header --no-annotate --no-emit-index-url --extra tables --extra report \
    $(if $(2),$(4) --constraint requirements/py$(subst .,,$(1))$(5).txt) \
    pyproject.toml requirements/build.in; \
} > $$file.new && mv $$file.new $$file || { rm -f $$file.new; exit 1; }

endef
