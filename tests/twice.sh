#!/bin/sh
# usage: tests/twice.sh PYTEST [OPTION...]
# Runs the tests, and those that failed once more: what waits for a clock or a port can be disturbed by a
# busy machine. What fails twice fails; what failed once only is told by the first run's summary.
set -eu

"$@" && exit 0
status=$?
[ "$status" = 1 ] || exit "$status"
echo "tests: once more, those that failed"
"$@" --last-failed --last-failed-no-failures=none
