#!/bin/sh
# usage: tests/compile.sh FOLDER
# Installs this tree's geomail, compiled, into a virtual environment that tests/environment.sh has made.
set -eu

cd "$(dirname "$0")/.."
echo "compiling for $("$1/bin/python" -V); that takes a minute or two"
HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 "$1/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-deps --no-build-isolation --force-reinstall .
