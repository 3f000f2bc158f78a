#!/bin/sh
# usage: tests/compiled.sh PYTHON FOLDER
# Makes a virtual environment with the compiled build of this tree in it; does nothing if just that is there.
# Where this machine cannot compile it says so, which is a failure where CI=true.
set -eu

cd "$(dirname "$0")/.."
python=$1
environment=$2
if ! command -v cc >/dev/null || ! [ -f "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; then
    echo "the compiled build is left out, as it needs a C compiler and the headers of $python" >&2
    rm -f "$environment/compiled-of"
    [ "${CI:-}" != true ] || exit 1
    exit 0
fi
tests/environment.sh "$python" "$environment"
exec tests/compile.sh "$environment"
