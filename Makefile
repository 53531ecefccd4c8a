# The two commands of a newcomer are `make up` and `make test`; `make` alone lists the rest.
# Everything but this file, the bootstrap of .venv and .ci/run is Python: see local/cli.

.DEFAULT_GOAL := help
.PHONY: help up down destroy load status doctor env test test-quick lint format lock schema bench clean venv venv-dev

# The first Python that is new enough; `make PYTHON=/path/to/python3.12 …` overrides it.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PY := .venv/bin/python
CLI := $(PY) -m local.cli
# `make up KUBE_CONTEXT=kind-x` uses that cluster; `make up ARGS=--verbose` passes flags on.
export KUBE_CONTEXT BUCKET S3_ENDPOINT CHARTS IMAGE URL
# Images often forbid Python to write byte code beside sources. Here it goes into .venv then: a Pulumi command is half a dozen Python processes,
# each of which would compile what it imports (`import pulumi` takes 1.1 s of CPU from source, 0.25 s from byte code).
ifneq ($(PYTHONDONTWRITEBYTECODE),)
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX ?= $(CURDIR)/.venv/bytecode
endif
ARGS ?=

help: ## List the targets
	@echo "Triton Fleet: autoscaling NVIDIA Triton from one pulumi up."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { gsub(/\$$\$$/, "$$", $$2); printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Start with: make up    then: make load"

up: venv ## Platform, pulumi up on stack dev, a checked inference; KUBE_CONTEXT=name uses your cluster instead
	@$(CLI) up $(ARGS)

load: venv ## A minute of real inference traffic: watch the replicas rise and fall, leaves out/load.png
	@$(CLI) load $(ARGS)

destroy: venv ## pulumi destroy of stack dev
	@$(CLI) destroy $(ARGS)

down: venv ## Stop the platform; its state stays for the next up
	@$(CLI) down $(ARGS)

status: venv ## What runs, where, since when
	@$(CLI) status $(ARGS)

doctor: venv ## What this machine has and lacks, with the remedy
	@$(CLI) doctor $(ARGS)

env: venv ## Shell exports: eval "$$(make -s env)", then plain pulumi, kubectl and helm
	@$(CLI) env $(ARGS)

test: venv-dev ## All tests that this machine can run, several stages beside each other
	@$(PY) -m local.cli.suite $(ARGS)

test-quick: venv-dev ## Lint, unit and component tests: a minute, no tools needed
	@$(PY) -m local.cli.suite --quick $(ARGS)

lint: venv-dev ## ruff, ruff format --check, mypy --strict
	@$(PY) -m local.cli.suite --only lint

format: venv-dev ## Rewrite the sources as ruff wants them
	@.venv/bin/ruff check --fix-only --quiet .
	@.venv/bin/ruff format --quiet .

lock: venv-dev ## Compile requirements*.in into the lock files, with hashes
	@for name in requirements requirements-dev; do \
		.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
			$$name.in $$(test $$name = requirements || echo --constraint requirements.lock) --output-file $$name.lock || exit 1; done

schema: venv-dev ## Generate charts/triton/values.schema.json from components/serving/values.py
	@$(PY) -m components.serving.values > charts/triton/values.schema.json.new
	@mv charts/triton/values.schema.json.new charts/triton/values.schema.json

bench: venv-dev ## Run one benchmark: make bench NAME=upload
	@test -n "$(NAME)" || { echo "Say which: make bench NAME=…; there are: $$(ls bench 2>/dev/null | sed 's/\.py$$//' | grep -v __ | tr '\n' ' ')" >&2; exit 2; }
	@$(PY) -m bench.$(NAME) $(ARGS)

clean: venv ## Stop the platform and delete its state, out/ and the caches of the checkers
	@$(CLI) clean $(ARGS)

# .venv: the stamps inside carry the lock files' hashes, so an unchanged checkout costs a few milliseconds here.
venv:
	@$(if $(PYTHON),,$(error Triton Fleet needs Python 3.11 or newer and found none on PATH: install python3.11 (with python3.11-venv on Debian or Ubuntu) or say make PYTHON=/path/to/python))$(PYTHON) local/cli/bootstrap.py requirements.lock

venv-dev:
	@$(if $(PYTHON),,$(error Triton Fleet needs Python 3.11 or newer and found none on PATH: install python3.11 (with python3.11-venv on Debian or Ubuntu) or say make PYTHON=/path/to/python))$(PYTHON) local/cli/bootstrap.py requirements-dev.lock
