#!/bin/sh
# The figures of the embedded broker beside Kafka 4.3.1, NATS JetStream and RabbitMQ in the same run: bench/README.md
# explains them. Needs Linux, Go 1.26, and the Kafka that ./test.sh fetches; wrk for the figures over HTTP. Installs wrk
# and RabbitMQ by apt where it may; what is missing in the end is left out, and said so.
# Options go to bench/embedded/compare.py, which lists them with --help.
set -eu
cd "$(dirname "$0")/../.."

command -v go >/dev/null 2>&1 || { echo "bench/embedded/run.sh: go is missing" >&2; exit 1; }
[ -e .kafka/4.3.1/.complete ] || { echo "bench/embedded/run.sh: no Kafka: run ./test.sh first" >&2; exit 1; }

wanted=
command -v wrk >/dev/null 2>&1 || wanted="wrk"
[ -d /usr/lib/rabbitmq/lib ] || wanted="$wanted rabbitmq-server"
if [ -n "$wanted" ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    # shellcheck disable=SC2086 # names of packages
    apt-get install -y -qq --no-install-recommends $wanted >/dev/null 2>&1 || true
fi

cargo build --release --locked --bin adapter --bin producer_api
target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
. bench/venv.sh

# The load program and the NATS server, of the versions that go.mod pins.
built=$target/bench-embedded
mkdir -p "$built"
CGO_ENABLED=0 go -C bench/embedded/load build -o "$built/load" .
CGO_ENABLED=0 go -C bench/embedded/load build -o "$built/nats-server" github.com/nats-io/nats-server/v2

exec "$venv/bin/python" bench/embedded/compare.py --programs "$target/release" --built "$built" "$@"
