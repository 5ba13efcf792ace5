.PHONY: lock
UV := $(or $(wildcard .venv-dev/bin/uv),uv)
lock:
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --override requirements/override.txt --output-file requirements/run.txt requirements/run.in
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --output-file requirements/dev.txt requirements/dev.in
