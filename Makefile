# make run and make test work on a machine that has Python 3.11 or newer and make, and nothing else.

CONFIG ?= config.toml
ARGS ?=
PYTHON := .venv/bin/python
# The real programs that the tests play against, as Debian's packages.
PEERS := ffmpeg rtmpdump nginx libnginx-mod-rtmp chromium openssl wrk iproute2 postgresql redis-server

.PHONY: help run demo doctor test lint format bench fuzz lock environment environment-dev peers clean
.DEFAULT_GOAL := help

help:  ## This list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1 /p' $(MAKEFILE_LIST) | while read -r name what; do printf '  make %-8s %s\n' "$$name" "$$what"; done

run: environment  ## Serve, with the settings in config.toml (another file: make run CONFIG=my.toml)
	@exec $(PYTHON) -m mediaserver serve --config $(CONFIG)

demo: environment  ## Serve, with colour bars to watch at once
	@exec $(PYTHON) -m mediaserver demo --config $(CONFIG)

doctor: environment  ## What this machine can do, and the remedy for what it cannot
	@$(PYTHON) -m mediaserver doctor --config $(CONFIG)

test: lint peers  ## Everything that must hold: style, types, arrows between packages, tests (ARGS="-k rtmp" for some)
	$(PYTHON) -m pytest -n 3 --dist worksteal $(ARGS)

lint: environment-dev  ## Style, types and arrows between packages
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

format: environment-dev  ## Lay the code out
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench: environment-dev peers  ## Beside nginx-rtmp on this machine (ARGS="--help" for what can be chosen)
	$(PYTHON) -m bench $(ARGS)

fuzz: environment-dev  ## Hostile bytes for as long as you like (ARGS="--help")
	$(PYTHON) -m tests.fuzz $(ARGS)

lock: environment-dev  ## Choose the newest dependencies that fit, and note them with their hashes
	$(PYTHON) -m pip install --quiet uv
	$(PYTHON) -m uv pip compile $(LOCK) pyproject.toml --all-extras -o requirements.lock
	$(PYTHON) -m uv pip compile $(LOCK) pyproject.toml --all-extras --group dev -c requirements.lock -o requirements-dev.lock

LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock"

clean:  ## Forget the environment and every cache
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist

# An environment is as old as the lock that was installed into it: its contents are compared, for a checkout changes times.
environment: $(PYTHON)
	@cmp -s requirements.lock .venv/requirements.lock || cmp -s requirements-dev.lock .venv/requirements-dev.lock || { \
		echo "Installing what the server needs ..." && \
		$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock && \
		cp requirements.lock .venv/requirements.lock; }

environment-dev: $(PYTHON)
	@cmp -s requirements-dev.lock .venv/requirements-dev.lock || { \
		echo "Installing what the server and its tests need ..." && \
		$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock && \
		cp requirements-dev.lock .venv/requirements-dev.lock; }

$(PYTHON):
	@for python in python3 python3.13 python3.12 python3.11 python; do \
		$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; \
	done; \
	test -n "$$python" || { echo "Python 3.11 or newer is needed. Debian 12, Ubuntu 24.04: apt install python3 python3-venv"; exit 1; }; \
	$$python -c 'import ensurepip' 2>/dev/null || $(call as_root_on_debian,python3-venv) || { \
		echo "This Python cannot make environments. Debian, Ubuntu: sudo apt install python3-venv; then make again"; exit 1; }; \
	echo "Making an environment in .venv ..." && $$python -m venv --clear .venv

# On Debian as root: install what is missing. Elsewhere a test whose peer is missing is skipped, and says so.
peers:
	@missing=; for package in $(PEERS); do dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; done; \
	test -z "$$missing" || $(call as_root_on_debian,$$missing) || echo "Not installed:$$missing. Tests that need one are skipped."

# RUNLEVEL=1: a service that comes with a package (nginx) is not started.
as_root_on_debian = { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 && \
	{ apt-get install -qq -y --no-install-recommends $(1) || { apt-get update -qq && apt-get install -qq -y --no-install-recommends $(1); }; } >/dev/null; }
