#!/bin/sh
# The figures of the work queue, beside Confluent's Parallel Consumer in the same run: bench/README.md explains them.
# Needs Linux, Java's compiler, Maven, and the jars that ./test.sh fetches; a C compiler for one row.
# Options go to bench/queue/compare.py, which lists them with --help.
set -eu
cd "$(dirname "$0")/../.."

for program in javac mvn; do
    command -v $program >/dev/null 2>&1 || { echo "bench/queue/run.sh: $program is missing" >&2; exit 1; }
done
[ -e .kafka/4.3.1/.complete ] || { echo "bench/queue/run.sh: no Kafka: run ./test.sh first" >&2; exit 1; }

cargo build --release --locked --bin adapter --bin consumer1 --example queue_figures
target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
. bench/venv.sh

# The jars of the Parallel Consumer, our two classes beside them, and the handler in C, in a folder that is made anew
# when one of their sources changes.
built=$target/bench-queue
wanted=$(cat bench/queue/pom.xml bench/queue/*.java bench/queue/handler.c | cksum)
if [ "$(cat "$built/.complete" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$built"
    mvn -q -B -Dstyle.color=never -f bench/queue/pom.xml dependency:copy-dependencies -DincludeScope=runtime \
        -DoutputDirectory="$built/jars"
    javac -cp "$built/jars/*" -d "$built/classes" bench/queue/*.java
    if command -v gcc >/dev/null 2>&1; then
        gcc -O2 -o "$built/handler" bench/queue/handler.c
    fi
    printf '%s\n' "$wanted" >"$built/.complete"
fi

exec "$venv/bin/python" bench/queue/compare.py --programs "$target/release" --built "$built" "$@"
