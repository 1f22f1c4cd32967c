# DPI Dual-Stream on any Linux: run it, test it, measure it, install it.

PYTHON  ?= /usr/bin/python3
PY      := .venv/bin/python
DESTDIR ?=

.PHONY: help run test lint bench panel install clean

help:
	@echo 'make run                     a router in network namespaces, analysing real traffic, until Ctrl-C'
	@echo 'make run DURATION=30 REPORT=report.json   the same, stops by itself and writes what happened'
	@echo 'make test                    unit, property and integration tests (as root: all of them)'
	@echo 'make test ARGS="-k mirror"   some of them'
	@echo 'make lint                    ruff and mypy'
	@echo 'make bench [ROW=ingest]      measurements against their baselines, bench/results.json'
	@echo 'make panel                   the Streamlit panel; DPI_PANEL_URL= is the router'"'"'s address'
	@echo 'make install DESTDIR=/tmp/x  the tree that a router gets'

run:
	@PYTHON=$(PYTHON) lab/bootstrap lab
	@exec $(PY) -m lab run $(if $(DURATION),--duration $(DURATION)) $(if $(REPORT),--report $(REPORT))

test:
	@PYTHON=$(PYTHON) lab/bootstrap lab
	@$(PY) -m pytest $(ARGS)

lint:
	@PYTHON=$(PYTHON) lab/bootstrap
	@$(PY) -m ruff check --no-cache .
	@$(PY) -m ruff format --no-cache --check .
	@$(PY) -m mypy

bench:
	@PYTHON=$(PYTHON) lab/bootstrap lab
	@$(PY) -m bench $(if $(ROW),--row $(ROW))

panel:
	@PYTHON=$(PYTHON) lab/bootstrap
	@exec $(PY) -m streamlit run panels/streamlit/app.py --browser.gatherUsageStats=false

install:
	@DESTDIR='$(DESTDIR)' ./install.sh

clean:
	rm -rf .venv .lab build dist bench/results.json .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
