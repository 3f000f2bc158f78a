#!/bin/sh
# Prints the Python interpreters of this machine that geomail supports, one line per Python version.
# The first is the one for the tests (python3 if it is new enough).
# With --folder PYTHON: prints the name of this interpreter's virtual environment; .venv for the first one.

newest_first="3.13 3.12 3.11"

# Prints an interpreter's version, if it works: a pyenv shim of a version that is not selected does not.
version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null </dev/null
}

candidates() {
    command -v python3
    for version in $newest_first; do
        command -v "python$version"
        ls -d "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python3 2>/dev/null
        ls -d "/usr/bin/python$version" "/usr/local/bin/python$version" 2>/dev/null
    done
}

supported() {
    seen=" "
    for python in $(candidates); do
        version=$(version_of "$python") || continue
        case " $newest_first " in *" $version "*) ;; *) continue ;; esac
        case "$seen" in *" $version "*) continue ;; esac
        seen="$seen$version "
        echo "$python"
    done
}

if [ "${1:-}" = --folder ]; then
    first=$(supported | head -n 1)
    version=$(version_of "$2") || version=""
    [ "$version" != "$(version_of "$first")" ] || version=""
    echo ".venv${version:+-$version}"
else
    supported
fi
