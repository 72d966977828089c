#!/bin/sh
# Other projects' test suites on the embedded broker: tests/suites/run.sh [SUITE...] [--record] [--broker kafka].
# README.md beside this file says what they are and what the options do.
set -eu
cd "$(dirname "$0")/../.."

python=.clients/venv/bin/python
[ -x "$python" ] || { echo "tests/suites/run.sh: no Python clients in .clients: run ./test.sh first" >&2; exit 1; }
export PYTHONDONTWRITEBYTECODE=1
(cd tests/suites && ../../"$python" -m unittest -q check)
exec nice "$python" tests/suites/run.py "$@"
