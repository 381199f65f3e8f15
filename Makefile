# Each target sets up what it needs first; what is set up already is not repeated.
# `make help` prints the text after "##" of each target and variable.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || echo python3)## Python 3.11 or 3.12 for the virtual environments
TORCH_INDEX ?=## package index for torch alone, such as PyTorch's CPU builds
DATA ?= phraseclick-data## folder in which `make run` keeps its state
ARGS ?=## more arguments for demo, run, bench, test and test-quick
ONCE ?=## 1: `make demo` exits instead of staying up
MINUTES ?= 60## length of the soak
SEQUENCES ?= 200## sequences of test-timings
WORKERS ?= 3## parallel processes of test and test-quick

PIP = .venv/bin/python -m pip --disable-pip-version-check --no-input
# Python compiles what it imports; compiling everything at once would take another minute.
LOCKED = install --quiet --no-deps --no-compile --require-hashes

.PHONY: help setup setup-dev setup-label-studio system-packages demo run bench bench-attacks soak test test-quick test-timings lint pictures lock lock-torch pin-images clean

help:  ## show this text
	@echo "Targets:"
	@sed -nE 's/^([a-z][a-z-]*):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 28
	@echo "Variables (make TARGET NAME=value):"
	@sed -nE 's/^([A-Z_]+) \?=.*## ?(.*)/  \1\t\2/p' Makefile | expand -t 28

# -- environments -----------------------------------------------------------------------------

setup: .venv/.package  ## .venv with the command phraseclick

.venv/.created:
	@$(call venv,.venv)

# With hashes after `make lock-torch`.
TORCH_LOCK = $(wildcard requirements-torch.lock)

.venv/.torch: requirements-torch.txt $(TORCH_LOCK) | .venv/.created
	@echo "Installing torch: CUDA builds are some gigabytes, CPU builds (TORCH_INDEX) 200 MB"
	@$(PIP) $(if $(TORCH_LOCK),$(LOCKED),install --no-compile) \
		$(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -r $(or $(TORCH_LOCK),requirements-torch.txt)
	@touch $@

.venv/.lock: requirements.lock | .venv/.torch
	@echo "Installing the locked packages: about a minute"
	@$(PIP) $(LOCKED) -r requirements.lock
	@touch $@

.venv/.package: pyproject.toml .venv/.lock .venv/.torch
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

setup-dev: .venv/.dev  ## … with everything that the tests need

.venv/.dev: requirements-dev.lock .venv/.package
	@echo "Installing what the tests need"
	@$(PIP) $(LOCKED) -r requirements-dev.lock
	@touch $@

setup-label-studio: .venv-label-studio/.installed  ## Label Studio in an environment of its own

# Label Studio pins other versions of our dependencies.
.venv-label-studio/.installed: requirements-label-studio.lock
	@$(call venv,.venv-label-studio)
	@echo "Installing Label Studio: one to three minutes"
	@.venv-label-studio/bin/python -m pip --disable-pip-version-check --no-input \
		$(LOCKED) -r requirements-label-studio.lock
	@touch $@

# $(call venv,FOLDER): on Debian, venv is in a package of its own.
define venv
$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null || { \
	echo "Python 3.11 or 3.12 is needed: install it, or set PYTHON=…"; exit 1; }; \
if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	package="python$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"; \
	$(call debian,$$package); \
fi; \
test -x $(1)/bin/python || $(PYTHON) -m venv $(1); \
touch $(1)/.created
endef

# -- Debian packages --------------------------------------------------------------------------

# $(call debian,PACKAGES): install them if run as root, otherwise say which are missing.
debian = if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing Debian packages: $(1)"; \
		apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null; \
	else \
		echo "Missing: $(1). Install with: sudo apt-get install $(1)"; exit 1; \
	fi

# Tests use Chromium, real brokers and PostgreSQL.
system-packages:  ## Debian packages for the tests (as root)
	@missing=""; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	command -v redis-server >/dev/null || missing="$$missing redis-server"; \
	command -v rabbitmq-server >/dev/null || test -x /usr/sbin/rabbitmq-server || missing="$$missing rabbitmq-server"; \
	compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing="$$missing postgresql"; \
	if [ -n "$$missing" ]; then $(call debian,$$missing); fi

# -- programs ---------------------------------------------------------------------------------

demo: setup setup-label-studio  ## the whole product in a Label Studio of its own, until Ctrl-C
	@.venv/bin/phraseclick demo $(if $(ONCE),--once) $(ARGS)

run: setup  ## server, workers and scheduler for your Label Studio (ARGS='--port 9090')
	@.venv/bin/phraseclick up --data $(DATA) $(ARGS)

bench: setup  ## measure clicks, phrases, webhooks and memory on this machine
	@.venv/bin/phraseclick bench $(ARGS)

bench-attacks: setup  ## 20 annotators while the server is attacked: ten minutes (ARGS='--seconds 60')
	@.venv/bin/phraseclick bench --attacks $(ARGS)

soak: setup  ## 20 annotators for MINUTES: memory, open files and threads must stay flat
	@.venv/bin/phraseclick bench --soak $(MINUTES) $(ARGS)

# -- checks -----------------------------------------------------------------------------------

lint: setup-dev  ## ruff, mypy and import-linter
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

PYTEST = .venv/bin/pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder
# pytest exits with 5 if ARGS selects no test of this kind.
NONE_OK = || test $$? = 5

test-quick: setup-dev  ## the tests that need no servers: some minutes
	$(PYTEST) -m "not slow and not timed" $(ARGS)

test: setup-dev setup-label-studio system-packages lint  ## all checks and tests, with real servers and a browser
	$(PYTEST) -m "not timed" $(ARGS) $(NONE_OK)
	.venv/bin/pytest -m timed $(ARGS) $(NONE_OK)

# Two of them are among the tests; all take hours, since annotators wait.
test-timings: setup-dev setup-label-studio system-packages  ## random clicks and Ctrl+Z in the real page
	TIMING_SEQUENCES=$(SEQUENCES) .venv/bin/pytest tests/e2e/test_random_timings.py $(ARGS)

# -- maintenance ------------------------------------------------------------------------------

PICTURES = plugin_config/pictures
pictures: setup-dev setup-label-studio system-packages  ## the documents' pictures of the labeling page and the dashboard
	.venv/bin/python -m tests.e2e.portrait $(PICTURES)
	.venv/bin/python -m tests.backend.web.portrait $(PICTURES)/dashboard.png

# uv resolves for all platforms at once and writes hashes. Only this target needs it.
UV_COMPILE = uv pip compile --quiet --upgrade --universal --generate-hashes --no-annotate --no-header
lock:  ## resolve the locked dependencies again (needs uv)
	$(UV_COMPILE) --python-version 3.11 --no-emit-package torch --no-emit-package torchvision \
		-c requirements-torch.txt --extra dev pyproject.toml -o requirements-dev.lock
	$(UV_COMPILE) --python-version 3.11 --no-emit-package torch --no-emit-package torchvision \
		-c requirements-torch.txt -c requirements-dev.lock pyproject.toml -o requirements.lock
	echo "label-studio==1.23.2" | $(UV_COMPILE) --no-config --python-version 3.11 - \
		-o requirements-label-studio.lock

lock-torch:  ## lock this platform's torch of TORCH_INDEX with hashes; setup and images use it (needs uv)
	uv pip compile --quiet --generate-hashes --no-annotate --no-header --python-version 3.11 \
		$(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -c requirements.lock \
		requirements-torch.txt -o requirements-torch.lock

# Tags move; a digest is one image for good. DOCKER must know `buildx imagetools inspect`.
DOCKER = docker
ENV_FILE = plugin_config/.env
pin-images:  ## write the digests of the base images into plugin_config/.env (needs docker)
	@for name in PYTHON POSTGRES REDIS; do \
		image="$$(sed -nE "s/.*[$$][{]$${name}_IMAGE:-([^}]+)[}].*/\1/p" plugin_config/compose.yaml)"; \
		digest="$$($(DOCKER) buildx imagetools inspect "$$image" --format '{{.Manifest.Digest}}')"; \
		[[ "$$digest" =~ ^sha256:[0-9a-f]{64}$$ ]] || { echo "No digest of $$image: $$digest"; exit 1; }; \
		touch $(ENV_FILE); sed -i "/^$${name}_IMAGE=/d" $(ENV_FILE); \
		echo "$${name}_IMAGE=$$image@$$digest" | tee -a $(ENV_FILE); \
	done

clean:  ## remove environments, demo and build
	rm -rf .venv .venv-label-studio demo build *.egg-info
