#!/bin/sh
# Compares our release build with the seed's pair of programs (Flask and kafka-python) on one real Kafka, in one run:
# HTTP -> stored with 1, 16 and 64 connections, consuming with a commit after each message, and our other commit modes.
# Needs Linux and the jars that ./test.sh fetches; installs wrk by apt where it may. Options go to bench/measure.py:
#   --seconds N    length of each HTTP measurement (8)
#   --messages N   messages for each consumer (20000 for ours, a quarter of that for the seed)
#   --only NAME    ours or seed
#   --broker NAME  kafka (as above) or embedded: the same on the embedded broker
#   --security     what TLS and SASL to the brokers cost instead (bench/security.py); takes --rounds N (3), too
set -eu
cd "$(dirname "$0")/.."

if ! command -v wrk >/dev/null 2>&1 && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get install -y -qq wrk >/dev/null 2>&1 || true
fi
command -v wrk >/dev/null 2>&1 || { echo "bench/run.sh: wrk is missing: install wrk" >&2; exit 1; }
[ -e .kafka/4.3.1/.complete ] || { echo "bench/run.sh: no Kafka in .kafka/4.3.1: run ./test.sh first" >&2; exit 1; }

cargo build --release --locked --bins
target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')

. bench/venv.sh

script=bench/measure.py
if [ "${1-}" = --security ]; then
    shift
    script=bench/security.py
fi
exec "$venv/bin/python" "$script" --programs "$target/release" "$@"
