# Two commands for a newcomer, each doing all its own set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: help demo test test-slow mutants lint types docs site survey look course notebooks figures check hooks lock clean

help:
	@echo "make demo   fine-tune, compress, measure and choose on bundled data (minutes on two cores)"
	@echo "make test   the default tests (offline, minutes)"
	@echo "make check  test, lint, types and the documents' examples: what CI runs"
	@echo "make test-slow   the long tests too"
	@echo "make site   the documentation in English and Turkish, into build/site (offline)"
	@echo "make look   opens every page of the site in Chromium: light, dark and phone; faults of any kind"
	@echo "make notebooks   the course as .ipynb, into build/notebooks; make course NOTEBOOKS=04_soft_labels runs them and keeps the outputs"
	@echo "make mutants ROOMS=choice   change the code in one place, run the room's tests, tell which changes no test noticed (hours for all rooms)"
	@echo "make figures   write the figures of README and docs from benchmarks/results; fails where a number has no source"

$(VENV)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "imbik needs Python 3.11 to 3.13; name one: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/demo: $(VENV)/python pyproject.toml requirements.lock
	$(PIP) install -c requirements.lock -e ".[demo]"
	touch $@

$(VENV)/dev: $(VENV)/python pyproject.toml requirements.lock
	$(PIP) install -c requirements.lock -e ".[dev]"
	touch $@

demo: $(VENV)/demo
	$(BIN)/imbik demo --out demo-out

# One test process a core, each with one compute thread: two threads that wait for each other in tiny models are slower than one.
test: export OMP_NUM_THREADS = 1
test: $(VENV)/dev
	$(BIN)/python -m pytest -n logical --dist loadfile

test-slow: $(VENV)/dev
	$(BIN)/python -m pytest -m "slow or not slow"

# cosmic-ray makes the changes; only this target needs it.
mutants: $(VENV)/dev
	$(PIP) install "cosmic-ray>=8.4"
	$(BIN)/python tests/mutation/run.py $(ROOMS)

lint: $(VENV)/dev
	$(BIN)/ruff check src tests benchmarks examples docs notebooks
	$(BIN)/ruff format --check src tests benchmarks examples docs notebooks

types: $(VENV)/dev
	$(BIN)/mypy

docs: $(VENV)/dev site
	$(BIN)/python -m pytest --doctest-modules src/imbik tests/house/test_documents.py

# English and Turkish into one folder; a warning, a link that leads nowhere or a Turkish text older than its English one fails.
site: $(VENV)/dev
	$(BIN)/python docs/site/build.py

# The survey as a PDF of four pages in each language, below build/site; needs Chromium, as the site does to have it at once.
survey: site
	$(BIN)/python docs/site/survey_pdf.py

# Every page in Chromium: light, dark, phone; errors, requests, axe-core. Half an hour; needs chromium and npm.
look: site
	$(PIP) install "playwright>=1.50"
	npm install --silent --prefix build axe-core@4
	$(BIN)/python docs/site/browser.py

# Runs the notebooks in full and keeps their outputs, numbers and seconds in notebooks/outputs.
course: $(VENV)/dev
	$(BIN)/python notebooks/run.py $(NOTEBOOKS)

notebooks: $(VENV)/dev
	$(BIN)/python notebooks/run.py --write build/notebooks $(NOTEBOOKS)

figures: $(VENV)/dev
	$(BIN)/python -m benchmarks.figures

check: test lint types docs

# Checks before each commit (.pre-commit-config.yaml).
hooks: $(VENV)/dev
	$(BIN)/pre-commit install

# Every version that an install takes, with those that it pulls in; run after a change of constraints.txt or of pyproject.toml.
lock: $(VENV)/python
	$(PIP) install uv
	$(BIN)/uv pip compile pyproject.toml --all-extras -c constraints.txt --universal --python-version 3.11 \
		--no-annotate --no-header --no-emit-index-url -q -o requirements.lock

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
