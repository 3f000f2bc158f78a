#!/bin/sh
# usage: tests/other_interpreters.sh PYTHON...
# Runs the tests, but for the slow ones, on each of these interpreters, in an environment of its own.
set -eu

cd "$(dirname "$0")/.."
for python; do
    folder=.venv-$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    tests/environment.sh "$python" "$folder"
    echo "tests: $("$python" -V)"
    tests/twice.sh "$folder/bin/pytest" --quiet -m "not slow"
done
