#!/bin/sh
# usage: tests/compiled.sh PYTHON
# Runs the tests, but for the slow ones, on the compiled build, installed in an environment of its own. They run in
# a folder without geomail's sources, which would be imported in its place; those of the sources are left out.
set -eu

cd "$(dirname "$0")/.."
python=$1
environment=$PWD/.venv-compiled
if ! command -v cc >/dev/null || ! [ -f "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; then
    echo "tests: the compiled build is left out, as it needs a C compiler and the headers of $python" >&2
    [ "${CI:-}" != true ] || exit 1
    exit 0
fi
tests/environment.sh "$python" "$environment"
tests/compile.sh "$environment"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp -R tests man samples Makefile ./*.md LICENSE pyproject.toml requirements.lock "$folder"
cd "$folder"
rm tests/test_build.py tests/test_contributing.py tests/test_imports.py tests/test_packaging.py tests/test_project.py
echo "tests: $("$python" -V), compiled"
export GEOMAIL_COMPILED=1
tests/twice.sh "$environment/bin/pytest" --quiet -m "not slow"
