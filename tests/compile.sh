#!/bin/sh
# usage: tests/compile.sh FOLDER
# Installs this tree's geomail, compiled, into a virtual environment that tests/environment.sh has made.
# Does nothing if it is already there and nothing has changed.
set -eu

cd "$(dirname "$0")/.."
folder=$1
compiled_of=$(find geomail cli samples man README.md hatch_build.py pyproject.toml -type f ! -name '*.pyc' -print0 |
    sort -z | xargs -0 sha256sum)
stamp=$folder/compiled-of
if [ -f "$stamp" ] && [ "$compiled_of" = "$(cat "$stamp")" ]; then
    exit 0
fi

echo "compiling for $("$folder/bin/python" -V); that takes a minute or two"
rm -f "$stamp"
GEOMAIL_PURE=0 "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-deps --no-build-isolation --force-reinstall .
"$folder/bin/geomail" --version
printf '%s\n' "$compiled_of" >"$stamp"
