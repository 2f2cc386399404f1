# `make` prints what there is. Everything works as root and as a normal user, on a fresh clone.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
.DEFAULT_GOAL := help
.PHONY: help setup run dev test test-reference lint format bench fuzz torture accept clean

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

setup: $(STAMP) ## install everything into .venv (again only when the lock changed)

# -I: neither the user's site-packages nor PYTHONPATH may leak into what we test.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3,11) <= sys.version_info < (3,15))' || { echo "Python 3.11 to 3.14 is needed; call make PYTHON=python3.12"; exit 2; }
	@echo "installing into .venv (about a minute) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -I -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -I -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

run: $(STAMP) ## run the main job on the sample institution, from files to published credentials
	@$(BIN)/credential-pipeline run

dev: $(STAMP) ## Dagster UI, daemon and the published site on loopback; one Ctrl-C ends all
	@exec $(BIN)/credential-pipeline dev

test: $(STAMP) ## the whole suite, through real PostgreSQL, S3 and HTTP
	@$(BIN)/python -m pytest -n $${WORKERS:-2} --dist loadfile --no-loadscope-reorder $(ARGS)

test-reference: $(STAMP) ## credential/, issue/ and a whole run again, without the compiled modules
	@$(BIN)/python -m credential_pipeline_tests.without_compiled -n $${WORKERS:-2} --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(STAMP) ## ruff, types (strict), walls between the rooms
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache

format: $(STAMP) ## let ruff lay out the code
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

bench: $(STAMP) ## speed and memory, as ratios measured in one run
	@$(BIN)/python -m credential_pipeline_tests.bench

fuzz: $(STAMP) ## random credentials, compiled against reference: make fuzz FOR=60 SEED=1
	@$(BIN)/python -m credential_pipeline_tests.fuzz --seconds $${FOR:-60} --seed $${SEED:-1}

torture: $(STAMP) ## kill -9 and cut connections at random moments: make torture FOR=300 SEED=1 KILLS=100
	@$(BIN)/python -m credential_pipeline_tests.torture --seconds $${FOR:-300} --seed $${SEED:-1} \
		--kills $${KILLS:-100} --cuts $${CUTS:-0.1}

accept: $(STAMP) ## real data: make accept DATA=DIR (a directory with the OULAD files)
	@test -n "$(DATA)" || { echo "give the dataset's directory: make accept DATA=DIR"; exit 2; }
	@$(BIN)/python -m credential_pipeline_tests.accept "$(DATA)"

clean: ## stop the embedded server; remove .local, .venv and caches
	@test ! -d .local/postgres || $(BIN)/credential-pipeline database-url --stop >/dev/null 2>&1 || true
	@rm -rf .local .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
