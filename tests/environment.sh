#!/bin/sh
# usage: tests/environment.sh PYTHON FOLDER
# Makes a virtual environment with the locked requirements (hashes checked) and this tree's geomail.
# Does nothing if it already exists and nothing has changed.
set -eu

cd "$(dirname "$0")/.."
python=$1
folder=$2
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

if [ -z "$python" ]; then
    echo "geomail needs Python 3.11 or newer, and none was found: apt-get install python3 python3-venv" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "$python cannot make virtual environments: apt-get install python$version-venv" >&2
    exit 1
fi

made_of=$("$python" -VV && cat requirements.lock pyproject.toml)
stamp=$folder/made-of
if [ -f "$stamp" ] && [ "$made_of" = "$(cat "$stamp")" ]; then
    exit 0
fi

echo "environment: $folder ($("$python" -V))"
rm -rf "$folder"
"$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --require-hashes -r requirements.lock
"$folder/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable .
printf '%s\n' "$made_of" >"$stamp"
