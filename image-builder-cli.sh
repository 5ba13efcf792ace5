#!/bin/sh
# Builds the images of a document and pushes them: ./image-builder-cli.sh inputs/hello.yaml
# Prepares what is missing on the machine; --help tells more.
set -eu
top=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
command -v git >/dev/null || "$top/scripts/packages" git
"$top/scripts/environment" run
exec "$top/.venv/bin/python" -m image_builder deploy "$@"
