# Start with `make up` and `make test`; `make` lists all targets.
# Everything except this file and .ci/run is Python: see local/cli.

.DEFAULT_GOAL := help
.PHONY: help up down destroy load status doctor env test test-quick lint format lock schema bench verdicts clean venv venv-dev

# The newest supported Python; `make PYTHON=/path/to/python3.12 …` overrides it. 3.14 first: it imports the SDKs fastest, because it evaluates
# annotations on demand. If a package has no wheel for it, local/cli/bootstrap.py uses the next older Python.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PY := .venv/bin/python
CLI := $(PY) -m local.cli
# `make up KUBE_CONTEXT=kind-x` uses that cluster; ARGS passes flags to the command.
export KUBE_CONTEXT BUCKET S3_ENDPOINT CHARTS IMAGE URL
# Container images often set PYTHONDONTWRITEBYTECODE. Bytecode then goes into .venv: a Pulumi command runs half a dozen Python processes, and
# each would compile what it imports (`import pulumi` takes 1.1 s of CPU from source, 0.25 s from bytecode).
ifneq ($(PYTHONDONTWRITEBYTECODE),)
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX ?= $(CURDIR)/.venv/bytecode
endif
ARGS ?=
comma := ,

help: ## List the targets
	@echo "Triton Fleet: autoscaling NVIDIA Triton with one pulumi up."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { gsub(/\$$\$$/, "$$", $$2); printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Start with: make up    then: make load"

up: venv ## Start the platform, deploy stack dev, verify inferences; KUBE_CONTEXT=name uses your cluster instead
	@$(CLI) up $(ARGS)

load: venv ## Send a minute of inference traffic, watch the replicas rise and fall, write out/load.png
	@$(CLI) load $(ARGS)

destroy: venv ## Delete what stack dev has deployed (pulumi destroy)
	@$(CLI) destroy $(ARGS)

down: venv ## Stop the platform; its state stays for the next make up
	@$(CLI) down $(ARGS)

status: venv ## Show the platform's components and endpoints
	@$(CLI) status $(ARGS)

doctor: venv ## Check this machine's requirements, with remedies
	@$(CLI) doctor $(ARGS)

env: venv ## Print shell exports for plain pulumi, kubectl and helm: eval "$$(make -s env)"
	@$(CLI) env $(ARGS)

test: venv-dev ## Run all tests that this machine supports, several stages in parallel
	@$(PY) -m local.cli.suite $(ARGS)

test-quick: venv-dev ## Run lint, unit and component tests: a few minutes, needs no tools
	@$(PY) -m local.cli.suite --quick $(ARGS)

lint: venv-dev ## Run ruff check, ruff format --check and mypy --strict
	@$(PY) -m local.cli.suite --only lint

format: venv-dev ## Format the sources with ruff
	@.venv/bin/ruff check --fix-only --quiet .
	@.venv/bin/ruff format --quiet .

lock: venv-dev ## Compile requirements*.in into the lock files, with hashes
	@for name in requirements requirements-dev; do \
		.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
			$$name.in $$(test $$name = requirements || echo --constraint requirements.lock) --output-file $$name.lock || exit 1; done

schema: venv-dev ## Generate the chart's values.yaml and values.schema.json from components/serving/values.py
	@$(PY) -m components.serving.chart_files

bench: venv-dev ## Run a benchmark: make bench NAME=upload
	@test -n "$(NAME)" || { echo "Choose a benchmark with make bench NAME=…: $$(ls bench 2>/dev/null | sed 's/\.py$$//' | grep -v __ | tr '\n' ' ')" >&2; exit 2; }
	@$(PY) -m bench.$(NAME) $(ARGS)

verdicts: venv-dev ## Compare model validation with a real tritonserver: make verdicts FOLDER=~/models
	@test -n "$(FOLDER)" || { echo "Name a folder with model repositories: make verdicts FOLDER=~/models" >&2; exit 2; }
	@$(PY) -m tests.verdicts "$(FOLDER)" $(ARGS)

clean: venv ## Stop the platform; delete its state, out/ and the linters' caches
	@$(CLI) clean $(ARGS)

# Takes milliseconds in an unchanged checkout: stamps in .venv are named after the lock files' hashes.
venv: ## Install the locked Python packages into .venv; every other target does so first
	@$(if $(PYTHON),,$(error Triton Fleet needs Python 3.11 or newer and found none on PATH: install python3.11 (with python3.11-venv on Debian or Ubuntu)$(comma) or name one with make PYTHON=/path/to/python))$(PYTHON) local/cli/bootstrap.py requirements.lock

venv-dev:
	@$(if $(PYTHON),,$(error Triton Fleet needs Python 3.11 or newer and found none on PATH: install python3.11 (with python3.11-venv on Debian or Ubuntu)$(comma) or name one with make PYTHON=/path/to/python))$(PYTHON) local/cli/bootstrap.py requirements-dev.lock
