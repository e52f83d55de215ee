#!/bin/sh
# The installation, as the image has it and the tests repeat it in an empty folder:
#   install.sh dependencies VENV LOCK...   what locks name, into a virtual environment, which is made if need be
#   install.sh code VENV APP               the command and the packages that lie in APP
set -eu

usage() {
    sed -n '2,4s/^# //p' "$0" >&2
    exit 64
}

dependencies() {
    [ $# -ge 2 ] || usage
    venv=$1
    shift
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    for lock; do
        # Wheels alone: nothing is compiled, so no stage needs a compiler.
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
            --only-binary :all: -r "$lock"
    done
    rm -rf "$venv"/lib/python*/site-packages/tensorflow/include # headers, 430 MB
}

code() {
    [ $# -eq 2 ] || usage
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable "$2"
    "$1/bin/python" -m compileall -q "$2" # nobody may write there later
}

case "${1-}" in
dependencies | code) "$@" ;;
*) usage ;;
esac
