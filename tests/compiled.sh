#!/bin/sh
# usage: tests/compiled.sh PYTHON FOLDER
# Makes a virtual environment with the compiled build of this tree; does nothing if it already exists.
# Prints a message if this machine cannot compile; with CI=true this is a failure.
set -eu

cd "$(dirname "$0")/.."
python=$1
environment=$2
if ! command -v cc >/dev/null || ! [ -f "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; then
    echo "skipping the compiled build: it needs a C compiler and the headers of $python" >&2
    rm -f "$environment/compiled-of"
    [ "${CI:-}" != true ] || exit 1
    exit 0
fi
tests/environment.sh "$python" "$environment"
exec tests/compile.sh "$environment"
