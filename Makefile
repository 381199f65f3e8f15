# Every target sets up what it needs first, and does nothing where that is done already.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Python 3.11 or 3.12; the lock is made for both, the tests run on 3.11.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || echo python3)
# Another package index for torch and torchvision alone, such as PyTorch's own one of CPU builds.
TORCH_INDEX ?=
# Where `make run` keeps its state, and further arguments for run, bench, test and demo.
DATA ?= phraseclick-data
ARGS ?=
# How many processes test; each may have a Label Studio, databases and a browser of its own.
WORKERS ?= 2

PIP = .venv/bin/python -m pip --disable-pip-version-check --no-input
# Python compiles what it imports; compiling all that is installed takes a minute more.
LOCKED = install --quiet --no-deps --no-compile --require-hashes

.PHONY: help setup setup-dev setup-label-studio system-packages demo run bench test lint lock clean

help:
	@echo "make setup    .venv with the command phraseclick"
	@echo "make demo     the whole product in a Label Studio of its own, until Ctrl-C (ONCE=1: ends by itself)"
	@echo "make run      backend, workers and scheduler for a Label Studio that you have (ARGS='--port 9090')"
	@echo "make test     every check and test there is, and what they need"
	@echo "make lint     ruff, mypy and import-linter alone"
	@echo "make bench    the speed of clicks, phrases and pictures on this machine"
	@echo "make lock     resolve the locked dependencies anew"

# -- environments -----------------------------------------------------------------------------

setup: .venv/.package

.venv/.created:
	@$(call venv,.venv)

.venv/.torch: requirements-torch.txt | .venv/.created
	@echo "Installing torch: CUDA builds are some gigabytes, CPU builds (TORCH_INDEX) 200 MB"
	@$(PIP) install --no-compile $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -r requirements-torch.txt
	@touch $@

.venv/.lock: requirements.lock | .venv/.torch
	@echo "Installing the locked packages: about a minute"
	@$(PIP) $(LOCKED) -r requirements.lock
	@touch $@

.venv/.package: pyproject.toml .venv/.lock .venv/.torch
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

setup-dev: .venv/.dev

.venv/.dev: requirements-dev.lock .venv/.package
	@echo "Installing what the tests need"
	@$(PIP) $(LOCKED) -r requirements-dev.lock
	@touch $@

setup-label-studio: .venv-label-studio/.installed

# Its pins clash with ours, so Label Studio has an environment of its own.
.venv-label-studio/.installed: requirements-label-studio.lock
	@$(call venv,.venv-label-studio)
	@echo "Installing Label Studio: one to three minutes"
	@.venv-label-studio/bin/python -m pip --disable-pip-version-check --no-input \
		$(LOCKED) -r requirements-label-studio.lock
	@touch $@

# $(call venv,FOLDER): Debian keeps the module that makes environments in a package of its own.
define venv
$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null || { \
	echo "Python 3.11 or 3.12 is needed: install it, or name it with PYTHON=…"; exit 1; }; \
if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	package="python$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"; \
	$(call debian,$$package); \
fi; \
test -x $(1)/bin/python || $(PYTHON) -m venv $(1); \
touch $(1)/.created
endef

# -- Debian packages --------------------------------------------------------------------------

# $(call debian,PACKAGES): installed when root, named when not.
debian = if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing Debian packages: $(1)"; \
		apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null; \
	else \
		echo "Missing: $(1). Install with: sudo apt-get install $(1)"; exit 1; \
	fi

# The end-to-end tests drive Chromium; queue and database are tested on the real servers too.
system-packages:
	@missing=""; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	command -v redis-server >/dev/null || missing="$$missing redis-server"; \
	command -v rabbitmq-server >/dev/null || test -x /usr/sbin/rabbitmq-server || missing="$$missing rabbitmq-server"; \
	compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing="$$missing postgresql"; \
	compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || missing="$$missing libfaketime"; \
	if [ -n "$$missing" ]; then $(call debian,$$missing); fi

# -- what it is for ---------------------------------------------------------------------------

demo: setup setup-label-studio
	@.venv/bin/phraseclick demo $(if $(ONCE),--once) $(ARGS)

run: setup
	@.venv/bin/phraseclick up --data $(DATA) $(ARGS)

bench: setup
	@.venv/bin/phraseclick bench $(ARGS)

lint: setup-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

# Two at a time; what measures time, alone. (5: none of the tests that ARGS names are of that kind.)
test: setup-dev setup-label-studio system-packages lint
	.venv/bin/pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder -m "not timed" $(ARGS) || test $$? = 5
	.venv/bin/pytest -m timed $(ARGS) || test $$? = 5

# Needs uv, which resolves for every platform at once and writes hashes; nobody else needs it.
UV_COMPILE = uv pip compile --quiet --upgrade --universal --generate-hashes --no-annotate --no-header
lock:
	$(UV_COMPILE) --python-version 3.11 --no-emit-package torch --no-emit-package torchvision \
		-c requirements-torch.txt --extra dev pyproject.toml -o requirements-dev.lock
	$(UV_COMPILE) --python-version 3.11 --no-emit-package torch --no-emit-package torchvision \
		-c requirements-torch.txt -c requirements-dev.lock pyproject.toml -o requirements.lock
	echo "label-studio==1.23.2" | $(UV_COMPILE) --no-config --python-version 3.11 - \
		-o requirements-label-studio.lock

clean:
	rm -rf .venv .venv-label-studio demo build *.egg-info
