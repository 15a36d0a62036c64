# Everything sets itself up: Python >= 3.11 and make are enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Real platforms and stores for what follows; each says in a line what it found, or why there is none.
FETCH = $(BIN)/python -m scripts.consul --fetch && $(BIN)/python -m scripts.docker --fetch && $(BIN)/python -m scripts.etcd --fetch

.PHONY: demo test test-agent test-others check bench soak lock clean
.DEFAULT_GOAL := test

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: $(STAMP)  ## the story of the README, live; ONCE=1 ends it and checks that all of it was true
	$(FETCH)
	ONCE=$(ONCE) $(BIN)/python -m demo

# Most tests wait for other processes, so two halves at once take less time. Only one of them starts a dockerd.
test: $(STAMP)  ## every test, with a real Envoy and, where they can be had, a real Consul, dockerd and etcd
	$(FETCH)
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	$(MAKE) --jobs=2 --keep-going --output-sync=target test-agent test-others
endif

test-agent:
	$(BIN)/python -m pytest -o cache_dir=.pytest_cache/agent tests/mesh/agent tests/mesh/cli

test-others:
	$(BIN)/python -m pytest -o cache_dir=.pytest_cache/others --ignore=tests/mesh/agent --ignore=tests/mesh/cli

check: $(STAMP)  ## formatting, lints, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)  ## the figures of docs/figures.md; ARGS=--quick for a short run
	$(FETCH)
	for name in naming discovery convergence rolling footprint cold overrides proxy instructions neighbour preview fanout boot; do $(BIN)/python -m bench.$$name $(ARGS) || exit 1; done

soak: $(STAMP)  ## the long runs: more steps, more names, more kills
	$(FETCH)
	$(BIN)/python -m pytest -m soak -s $(ARGS)

lock: $(STAMP)  ## resolve requirements.lock anew
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --group dev --extra all --universal --no-header --no-annotate --generate-hashes --python-version 3.11 --upgrade -o requirements.lock

clean:
	rm -rf $(VENV) .cache
