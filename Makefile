# `make demo` and `make test` do all the set-up on a machine with Python 3.11 or later and make.
PYTHON ?= python3
BIN := .venv/bin
# The workspace that was worked in last: right after the demo, the demo's.
WORKSPACE ?= $(firstword $(shell ls -td data/workspace data/demo 2>/dev/null) data/workspace)
READERS := eslint@9.39.1 @eslint/js@9.39.1 globals@16.5.0 typescript@7.0.2 preact@11.2.0
# Every notebook is a process of its own: what Python compiles for one is kept for the next.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo example pictures test docs pages lab bench fuzz constraints clean

demo: .venv/base
	$(BIN)/evalbench demo

# The committed example is the last report of a small demo.
example: .venv/base
	made=$$($(BIN)/evalbench demo --workspace data/example --sessions 1500 | \
	  sed -n 's,^2026Q3: \(.*\)/report.html$$,\1,p') && rm -rf reports/example && mkdir reports/example && \
	cd "$$made" && cp -r report.html report.pdf figures result.json manifest.json tables $(CURDIR)/reports/example

# The pictures of the README, of the demo that `make example` left.
pictures: .venv/test
	$(BIN)/python docs/pictures.py data/example

test: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/nbstripout --verify notebooks/*.ipynb
	$(MAKE) pages docs
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

# The site is in build/docs; the reference of commands is made of the commands.
docs: .venv/test
	$(BIN)/python -m typer evalbench.cli utils docs --name evalbench --title Commands --output docs/commands.md
	$(BIN)/sphinx-build -W --keep-going -q docs build/docs

# Where Node is, it reads the scripts of the pages; the browser tests run them everywhere.
pages: .venv/test
	if ! command -v npm >/dev/null; then echo "No npm: the scripts of the pages are not linted."; exit 0; fi; \
	mkdir -p .venv/pages && cp tests/browser/eslint.config.mjs tests/browser/tsconfig.json .venv/pages && cd .venv/pages && \
	{ [ -d node_modules/typescript ] || npm install --silent --no-audit --no-fund $(READERS); } && \
	PYTHONPATH=../.. ../bin/python ../../tests/browser/pages.py . && npx eslint . && npx tsc

lab: .venv/base
	EVALBENCH_WORKSPACE="$(abspath $(WORKSPACE))" $(BIN)/jupyter lab notebooks

bench: .venv/bench .venv/peers/ready
	$(BIN)/python benchmarks/table.py

# A million hostile files through the readers.
fuzz: .venv/test
	$(BIN)/python tests/fuzz/fuzz.py

clean:
	rm -rf .venv data/demo data/example data/workspace
	find reports -mindepth 1 -maxdepth 1 ! -name example -exec rm -rf {} +

comma := ,

# Every package is checked against its hash. uv installs in seconds what takes pip minutes; where uv
# cannot be had, a new pip does it, which wants what has no hash (this folder) apart from the rest.
install = $(BIN)/pip install --quiet uv && \
	$(BIN)/uv pip install --quiet --python $(BIN)/python -b constraints.txt -c constraints.txt -e '.[$(1)]' || \
	{ $(BIN)/pip install --quiet --upgrade pip && \
	  $(BIN)/python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
	  print(*project['dependencies'], *(wanted for extra in '$(1)'.split(',') if extra \
	  for wanted in project['optional-dependencies'][extra]), sep='\n')" > .venv/wanted.txt && \
	  $(BIN)/pip install --quiet -c constraints.txt -r .venv/wanted.txt && \
	  $(BIN)/pip install --quiet --no-deps -e .; }

# Pins for every Python from 3.11 on and every system, with hashes; pins that still fit stay.
constraints: .venv/base
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --all-extras \
	  --no-annotate --no-header --no-emit-index-url -o constraints.txt pyproject.toml

.venv/base: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(call install)
	touch $@

.venv/test: .venv/base
	$(call install,test$(comma)docs)
	touch $@

# Other tools that judge, to measure beside, in an environment of their own: their pins are not ours.
.venv/peers/ready: benchmarks/peers.txt .venv/base
	$(PYTHON) -m venv .venv/peers
	$(BIN)/uv pip install --quiet --python .venv/peers/bin/python -r benchmarks/peers.txt || \
	  .venv/peers/bin/pip install --quiet -r benchmarks/peers.txt
	touch $@

# BERTopic and what it stands on, to measure beside.
.venv/bench: .venv/test
	$(call install,test$(comma)docs$(comma)bench)
	touch $@
