#!/bin/sh
# Greets with the architecture that it runs on.
printf '%s from %s.\n' "$1" "$(uname -m)"
