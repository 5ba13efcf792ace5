# Every check of the project by its own name; "make test" runs them all, "make help" lists them.
# Each makes what it needs: the pinned environments, and the engine and registry to build with.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
export PATH := $(CURDIR)/.venv-dev/bin:$(PATH)
# Ansible ends at once where the locale is not UTF-8, or came by SSH and is not on this machine.
export LC_ALL := C.UTF-8

CHECKS := format lint types shell ansible-lint docs sanity molecule unit oldest builds integration e2e
# What the checks call, apart from what the environments bring.
PACKAGES := bzip2 ca-certificates git git-lfs iproute2 openssh-server openssl procps python3-venv shellcheck tinyproxy-bin xz-utils zstd
LOCK := uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --upgrade
MODULES = $(basename $(notdir $(filter-out %/__init__.py,$(wildcard plugins/modules/*.py))))

.PHONY: help test packages $(CHECKS) lock run dev opera-0.6 site clean

help: ## List the targets
	@grep -hE '^[a-z0-9.-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

test: packages ## Run every check, and say how long each took
	@tests/checks $(CHECKS)

packages: ## Install the Debian packages that checks need and this machine lacks
	@scripts/packages $(PACKAGES)

format: dev ## See that the Python is formatted (ruff)
	ruff format --check

lint: dev ## Lint the Python (ruff), and hold the rooms apart (import-linter)
	ruff check
	lint-imports

types: dev ## Check the types (mypy, strict)
	mypy

shell: ## Lint the shell scripts
	shellcheck .ci/run image-builder-cli.sh tests/checks $(wildcard scripts/* tests/*.sh)

ansible-lint: dev ## Lint playbooks and roles (production profile)
	ansible-lint

docs: dev ## Check the documentation of the modules, and the changelog
	ansible-doc --type module $(addprefix sodalite.image_builder.,$(MODULES)) >/dev/null
	antsibull-docs lint-collection-docs --plugin-docs .
	antsibull-changelog lint

unit: dev site ## Test the parts, some with a registry
	pytest tests/unit

# What needs the libraries: the rooms that import them, as they are on Debian 12.
OLDEST := engine network registry sources/test_download.py
oldest: site ## Test what imports docker, requests or urllib3 with the oldest of them
	@scripts/environment oldest
	.venv-oldest/bin/pytest $(addprefix tests/unit/plugins/module_utils/,$(OLDEST))

sanity: dev ## Run ansible-test's sanity tests
	tests/sanity.sh

molecule: dev ## Try the roles on this machine, apart from any engine that it has
	cd extensions && molecule test --all

builds: dev site ## Build with a real engine, and hold what is read against BuildKit
	pytest tests/builds

integration: dev site ## Run the modules as playbooks do
	tests/integration.sh

e2e: dev opera-0.6 site ## Build through every door, with real engines, registries and git servers
	pytest tests/e2e

lock: dev ## Pin the newest versions that requirements/*.in allow
	$(LOCK) --universal --override requirements/override.txt --output-file requirements/run.txt requirements/run.in
	$(LOCK) --universal --output-file requirements/dev.txt requirements/dev.in
	$(LOCK) --output-file requirements/oldest.txt requirements/oldest.in
	$(LOCK) --no-deps --output-file requirements/opera-0.6.txt requirements/opera-0.6.in

run: ## Make or renew .venv, the environment that deploys
	@scripts/environment run

dev: ## Make or renew .venv-dev, the environment that lints and tests
	@scripts/environment dev

opera-0.6: ## Make or renew .venv-opera-0.6, which deploys with the older opera, and .venv
	@scripts/environment opera-0.6

# A registry that is named stands for a whole site that is there already (see tests/support/engine.py).
site: run ## Set up the engine and the registry that tests build with
	@[ -n "$${IMAGE_BUILDER_TEST_REGISTRY-}" ] || .venv/bin/ansible-playbook sodalite.image_builder.setup

clean: ## Remove the environments and what tools left in the tree
	rm -rf .venv .venv-dev .venv-oldest .venv-opera-0.6 .ansible .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
