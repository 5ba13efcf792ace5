#!/bin/bash
# Runs ansible-test's sanity tests on the collection as it installs, since they want their own folder layout.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$PWD/.venv-dev
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Its environments stay for the next run; nothing of them goes to the user's home folder.
settings=$("$venv/bin/pip" config list | sed -n "s/^\(:env:\|global\|install\)\.\([a-z-]*\)='\(.*\)'$/\2 = \3/p" | awk '!seen[$1]++')
export HOME=$venv/ansible-test
mkdir -p "$HOME/.ansible/test/cache" "$HOME/.config/pip"
# It passes neither the user's pip settings nor the environment's on.
printf '[global]\n%s\n' "$settings" >"$HOME/.config/pip/pip.conf"
# ansible-test fetches a script that installs pip from a host that may be out of reach. This takes its place.
requirements=$("$venv/bin/python" -c 'from ansible_test._internal import python_requirements; print(python_requirements.__file__)')
pip=$(sed -n "s/^ *pip='\([0-9.]*\)',$/\1/p" "$requirements")
cat >"$HOME/.ansible/test/cache/get_pip_${pip//./_}.py" <<'PYTHON'
import ensurepip
import os
import subprocess
import sys

settings = dict(os.environ)
ensurepip.bootstrap()  # which turns pip's settings off
packages = [word for word in sys.argv[1:] if not word.startswith("--no-")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *packages], env=settings))
PYTHON

"$venv/bin/ansible-galaxy" collection install --force --collections-path "$folder" --requirements-file requirements.yml
cd "$folder/ansible_collections/sodalite/image_builder"
# The interpreter itself comes before whatever else answers to its name.
base=$("$venv/bin/python" -c 'import sys; print(sys.base_prefix)')
version=$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
# Names such as _ and assertions that tell mypy a type are our style; ruff and mypy check what pylint would.
PATH=$venv/bin:$base/bin:$PATH "$venv/bin/ansible-test" sanity --local --python "$version" --color no \
    --skip-test no-assert --skip-test pylint "$@"
