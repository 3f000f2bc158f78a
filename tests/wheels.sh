#!/bin/sh
# usage: tests/wheels.sh PYTHON...
# Makes dist/: a compiled wheel for each of these interpreters, for any Linux with a new enough C library
# (manylinux), and the source distribution. Installs each into a clean virtual environment, with the newest
# packages that it allows, and runs tests/test_smoke.py there.
set -eu

cd "$(dirname "$0")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 GEOMAIL_PURE=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf dist
mkdir dist

# prove PYTHON DISTRIBUTION: check that it can be installed with only PYTHON, is compiled, and works.
prove() {
    echo "proving $(basename "$2") on $("$1" -V)"
    rm -rf "$work/clean"
    "$1" -m venv "$work/clean"
    "$work/clean/bin/pip" install --quiet "$2"
    GEOMAIL_COMMAND=$work/clean/bin/geomail GEOMAIL_COMPILED=1 .venv/bin/pytest --quiet tests/test_smoke.py
}

# repair WHEEL: name the oldest C library that it runs on, and remove debugging symbols.
repair() {
    PATH=$work/tools/bin:$PATH auditwheel repair --strip --wheel-dir "$work/repaired" "$1" 2>"$work/log" && return
    cat "$work/log" >&2
    exit 1
}

first=$1
tests/environment.sh "$first" .venv
"$first" -m venv "$work/tools"
"$work/tools/bin/pip" install --quiet --require-hashes -r tests/wheels.lock

for python; do
    environment=.venv
    if [ "$python" != "$first" ]; then
        environment=.venv-$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        tests/environment.sh "$python" "$environment"
    fi
    echo "building a wheel for $("$python" -V); this takes a minute or two"
    rm -rf "$work/raw" "$work/repaired"
    "$environment/bin/pip" wheel --quiet --no-deps --no-build-isolation --wheel-dir "$work/raw" .
    repair "$work"/raw/*.whl
    prove "$python" "$work"/repaired/*.whl
    mv "$work"/repaired/*.whl dist/
done

.venv/bin/python -m hatchling build --target sdist --directory "$work/source"
prove "$first" "$work"/source/*.tar.gz
mv "$work"/source/*.tar.gz dist/
ls -l dist
