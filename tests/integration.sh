#!/bin/bash
# Runs all targets of tests/integration/targets, or those that are named, against this machine. Each is a role.
set -euo pipefail
cd "$(dirname "$0")/integration/targets"
[ $# != 0 ] || set -- *
playbook=$(mktemp --suffix=.yml)
trap 'rm -f "$playbook"' EXIT
for target in "$@"; do
    cat >"$playbook" <<YAML
- name: Integration test of $target
  hosts: localhost
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  roles: ["$PWD/$target"]
YAML
    ansible-playbook "$playbook" </dev/null
done
