# `make run` plays the main job, `make test` passes the tests, `make prove` proves; all set up whatever they need first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup run test lint oracle fuzz bench prove clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; say PYTHON=…") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $(READY)

# The shop, end to end, with faults. ONCE=1 ends after the story, with status 0 only if every order is accounted for.
run: setup
	$(BIN)/python examples/shop/story.py $(if $(ONCE),--once)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The mapping language's reference implementation, which the tests compare ours with. Needs node and npm.
oracle:
	bash tools/oracle.sh

test: lint oracle
	$(BIN)/pytest -n 2 $(ARGS)

# The mapping language against its reference, for as long as you like: make fuzz COUNT=1000000 SEED=7
fuzz: setup oracle
	$(BIN)/python bench/mapping_fuzz.py --count $(or $(COUNT),200000) --seed $(or $(SEED),1)

# Faults of every kind against every promise; see docs/proof.md. LONG=1 for the long run, TIER=images for one tier,
# COUNT=50000 for so many trials, from seed FIRST=1 on; CASE=17 or SEED=17 with a TIER repeats one trial; RECORD=1 writes
# docs/proof.md, tier by tier; RESUME=1 leaves out the tiers that ended at this commit already.
prove: setup
	$(BIN)/python -m proof $(TIER) $(if $(LONG),--long) $(if $(RECORD),--record) $(if $(RESUME),--resume) $(if $(COUNT),--count $(COUNT)) \
		$(if $(CASE),--case $(CASE)) $(if $(SEED),--seed $(SEED)) $(if $(FIRST),--first $(FIRST))

bench: setup
	$(BIN)/python bench/run.py $(ARGS)

clean:
	rm -rf $(VENV) .tools build dist
