#!/bin/sh
# usage: tests/compile.sh FOLDER
# Installs this tree's geomail, compiled, into a virtual environment made by tests/environment.sh.
# Does nothing if this build is already installed there.
set -eu

cd "$(dirname "$0")/.."
folder=$1
made_of=$(
    find geomail cli man samples hatch_build.py pyproject.toml README.md LICENSE -type f ! -path '*/__pycache__/*' |
        LC_ALL=C sort | xargs sha256sum | sha256sum
)
stamp=$folder/compiled-of
# A newer RECORD means that another command has installed geomail since.
installed=$(echo "$folder"/lib/python*/site-packages/geomail-*.dist-info/RECORD)
if [ -f "$stamp" ] && ! [ "$installed" -nt "$stamp" ] && [ "$made_of" = "$(cat "$stamp")" ]; then
    exit 0
fi
rm -f "$stamp"

echo "compiling for $("$folder/bin/python" -V); this takes a minute or two"
GEOMAIL_PURE=0 "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-deps --no-build-isolation --force-reinstall .
"$folder/bin/geomail" --version
printf '%s\n' "$made_of" >"$stamp"
