#!/bin/sh
# The figures of messages out over HTTP, beside ElasticMQ's SQS interface in the same run: bench/README.md explains them.
# Needs Linux, Java, Maven, and the Kafka that ./test.sh fetches for --broker kafka.
# Options go to bench/leases/compare.py, which lists them with --help.
set -eu
cd "$(dirname "$0")/../.."

for program in java mvn; do
    command -v $program >/dev/null 2>&1 || { echo "bench/leases/run.sh: $program is missing" >&2; exit 1; }
done

cargo build --release --locked --bin adapter --bin producer_api --bin consumer1 --example lease_figures
target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
. bench/venv.sh

# The jars of ElasticMQ, in a folder that is made anew when their version changes.
built=$target/bench-leases
wanted=$(cksum <bench/leases/pom.xml)
if [ "$(cat "$built/.complete" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$built"
    mvn -q -B -Dstyle.color=never -f bench/leases/pom.xml dependency:copy-dependencies -DincludeScope=runtime \
        -DoutputDirectory="$built/jars"
    printf '%s\n' "$wanted" >"$built/.complete"
fi

exec "$venv/bin/python" bench/leases/compare.py --programs "$target/release" --jars "$built/jars" "$@"
