#!/bin/sh
# Everything that decides whether the project is in order, on a fresh machine too:
#   set-up (compiler, Java, Maven, Kafka's jars, other people's clients, a browser) -> formatting -> lints -> no C, no async
#   runtime -> documentation -> tests. At the end it tells what each step and each module of tests took.
#
#   ./test.sh          all of it
#   ./test.sh quick    for daily work: formatting, lints, unit tests, and the tests on the embedded broker that need neither
#                      Java nor a browser
#   ./test.sh long     what takes minutes: the packages built as they would be published, the figures of durability with a
#                      database of five gigabytes, two minutes of authentication that ends each five seconds, and the work
#                      queue under chaos with a million messages and several seeds (TEST_SEEDS=1,2,3), one test at
#                      a time; the test suites of others on the embedded broker (tests/suites); Prometheus' alerts;
#                      what packaging/ makes: static programs, the Debian package, the container (packaging/test.sh); and
#                      whether everything compiles for Windows
# Other arguments go to `cargo test`, for example: ./test.sh --test it channel::
set -eu
cd "$(dirname "$0")"

MODE=all
case ${1:-} in quick | long) MODE=$1; shift ;; esac

RUST_NEEDED=1.90
JAVA_NEEDED=17
PYTHON_NEEDED=3.11
KAFKA_VERSIONS="4.3.1 3.9.1"

say() { printf '== %s\n' "$*"; }
fail() { printf 'test.sh: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# step NAME COMMAND...: runs a part of the check and notes what it takes.
STEPS=
UNSTEADY=
step() {
    name=$1 begin=$(date +%s)
    shift
    say "$name"
    "$@"
    STEPS="$STEPS$(printf '%6d s  %s' $(($(date +%s) - begin)) "$name")
"
}

# What the steps took, and the seconds of the tests of each module: several run at once, so these are more in sum.
report() {
    printf '== what it took\n%s' "$STEPS"
    [ -z "$UNSTEADY" ] || printf '== UNSTEADY: failed beside others, passed alone; each is a fault to be mended\n%s\n' "$UNSTEADY"
    [ -s "${TEST_TIMES:-}" ] || return 0
    printf '== seconds of the tests, by module\n'
    awk -F '\t' '{ split($1, name, "::"); sum[name[1]] += $3 }
        END { for (module in sum) printf "%6d s  %s\n", sum[module], module }' "$TEST_TIMES" | sort -rn
}
trap report EXIT

# Installs Debian packages where that is possible; the caller checks afterwards whether it helped.
apt_install() {
    if [ "$(id -u)" -eq 0 ] && has apt-get; then
        say "installing $*"
        apt-get update -qq >/dev/null 2>&1 || true
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 || true
    fi
}

# at_least NEEDED FOUND: compares dotted versions.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

rust_is_good() { has cargo && at_least "$RUST_NEEDED" "$(cargo --version 2>/dev/null | cut -d ' ' -f 2)"; }

set_up_rust() {
    [ -d "$HOME/.cargo/bin" ] && PATH="$PATH:$HOME/.cargo/bin"
    # The linker that Rust calls; no C source is compiled.
    has cc || apt_install gcc libc6-dev
    has cc || fail "no linker: install gcc (Debian, Ubuntu: apt-get install gcc libc6-dev)"
    if ! rust_is_good; then
        has rustup || apt_install rustup
        has rustup && rustup default stable
    fi
    rust_is_good || fail "Rust $RUST_NEEDED or newer is needed: install it with rustup (rustup default stable)"
    for part in fmt clippy; do
        cargo "$part" --version >/dev/null 2>&1 && continue
        has rustup && rustup component add rustfmt clippy
        cargo "$part" --version >/dev/null 2>&1 || fail "cargo $part is missing: rustup component add rustfmt clippy"
    done
}

# The tests compile small Java programs, so the compiler is asked, not only the machine.
java_is_good() {
    has java && has javac &&
        at_least "$JAVA_NEEDED" "$(javac -version 2>&1 | sed -n 's/^javac \([0-9.]*\).*/\1/p')"
}

set_up_java() {
    java_is_good || apt_install openjdk-17-jdk-headless
    java_is_good || apt_install default-jdk-headless
    java_is_good || fail "Java $JAVA_NEEDED or newer (a JDK) is needed: install openjdk-17-jdk-headless"
}

# Kafka itself, as jars in .kafka/VERSION. A stamp with the checksum of the list of jars says that a folder is complete.
set_up_kafka() {
    wanted=$(cksum <tests/kafka/pom.xml)
    for version in $KAFKA_VERSIONS; do
        folder=.kafka/$version
        [ "$(cat "$folder/.complete" 2>/dev/null)" = "$wanted" ] && continue
        has mvn || apt_install maven
        has mvn || fail "Maven is needed to fetch Kafka $version for the tests: install maven"
        say "fetching Kafka $version"
        rm -rf "$folder"
        mvn -q -B -Dstyle.color=never -f tests/kafka/pom.xml dependency:copy-dependencies \
            -Dkafka.version="$version" -DincludeScope=runtime -DoutputDirectory="$PWD/$folder" ||
            fail "Maven could not fetch Kafka $version"
        printf '%s\n' "$wanted" >"$folder/.complete"
    done
}

# The classes that brokers, clients and tools load, in an archive for each version: Java starts in half the time with it.
# It fits one Java and one place; without it the tests take longer, and that is all.
archive_classes() {
    wanted=$(java -version 2>&1; pwd; cksum <tests/kafka/Archive.java; cksum <tests/kafka/pom.xml)
    for version in $KAFKA_VERSIONS; do
        folder=$PWD/.kafka/$version
        [ "$(cat "$folder/.archived" 2>/dev/null)" = "$wanted" ] && continue
        temporary=$(mktemp -d)
        rm -f "$folder/classes.jsa"
        timeout 120 java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xlog:disable \
            "-XX:ArchiveClassesAtExit=$folder/classes.jsa" -cp "$folder/*" tests/kafka/Archive.java "$temporary" \
            >/dev/null 2>&1 || rm -f "$folder/classes.jsa"
        rm -rf "$temporary"
        printf '%s\n' "$wanted" >"$folder/.archived"
    done
}

# A Python that can make virtual environments.
python_is_good() {
    has python3 && python3 -c 'import ensurepip, venv' 2>/dev/null &&
        at_least "$PYTHON_NEEDED" "$(python3 -V | cut -d ' ' -f 2)"
}

# Clients that others wrote: kcat, and those of Python in .clients/venv, stamped like Kafka's jars.
set_up_clients() {
    has kcat || apt_install kcat
    has kcat || fail "kcat is needed for the tests: install kcat"
    python_is_good || apt_install python3 python3-venv
    python_is_good || fail "Python $PYTHON_NEEDED or newer with venv is needed for the tests: install python3-venv"
    wanted=$(python3 -V; cksum <tests/it/clients/requirements.txt)
    [ "$(cat .clients/.complete 2>/dev/null)" = "$wanted" ] && return
    say "fetching the Python clients"
    rm -rf .clients
    mkdir .clients
    if ! { python3 -m venv .clients/venv &&
        .clients/venv/bin/pip install -q --disable-pip-version-check --only-binary :all: \
            -r tests/it/clients/requirements.txt; }; then
        fail "pip could not fetch the clients that tests/it/clients/requirements.txt names"
    fi
    printf '%s\n' "$wanted" >.clients/.complete
}

# A browser, and what drives it, for the tests of the page.
set_up_browser() {
    has chromium && has chromedriver || apt_install chromium chromium-driver
    has chromium && has chromedriver ||
        fail "Chromium and its driver are needed for the tests: install chromium and chromium-driver"
}

# No build compiles C or holds an async runtime: neither the default one nor, with the arguments given, the other. The two
# variables below make any attempt to compile C fail.
check_dependencies() {
    tree=$(cargo tree --locked --workspace -e normal,build --prefix none "$@")
    bad=$(printf '%s\n' "$tree" | grep -E '^(cc|cmake|pkg-config|tokio|async-std|smol) v' | sort -u || true)
    [ -z "$bad" ] || fail "a C build or an async runtime came in with: $bad (cargo tree -e normal,build -i NAME)"
}

# What the test suites of others are built with, besides; each says itself what it lacks.
set_up_suites() {
    has go || apt_install golang-go
    has npm || apt_install nodejs npm
}

# Prometheus' promtool. Debian's package is unpacked alone, as it would also serve where it is installed.
set_up_promtool() {
    folder=$PWD/target/prometheus
    PATH=$PATH:$folder/usr/bin
    has promtool && return
    has apt-get && has dpkg || fail "promtool is needed: install Prometheus"
    mkdir -p "$folder"
    (cd "$folder" && apt-get download -qq prometheus && dpkg -x prometheus_*.deb .) || true
    has promtool || fail "promtool is needed: install Prometheus"
}

set_up() {
    set_up_rust
    set_up_clients
    [ "$MODE" = quick ] && return
    set_up_java
    set_up_kafka
    archive_classes
    set_up_browser
    [ "$MODE" != long ] || { set_up_suites && set_up_promtool; }
}

alerts() {
    promtool check rules packaging/prometheus/alerts.yml
    promtool test rules packaging/prometheus/alerts_test.yml
}

lints() {
    cargo clippy --locked --workspace --all-targets -- -D warnings
}

documentation() {
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --workspace --lib --document-private-items
}

# run_tests ARGUMENTS...: `cargo test`, and the tests that failed once more, one at a time. Where a rare accident of timing
# among hundreds of tests with real brokers would hide everything else, three of them may pass in the second run; the
# report names them.
run_tests() {
    output=target/test-output
    : >"$output"
    tail -n +1 -f "$output" &
    follower=$!
    cargo test --color never --locked --no-fail-fast "$@" >"$output" 2>&1 && status=0 || status=$?
    sleep 1
    kill "$follower"
    [ "$status" -ne 0 ] || return 0
    failed=$(sed -n 's/^test \([^ ]*\) \.\.\. FAILED$/\1/p' "$output")
    all_are_known && [ "$(printf '%s\n' "$failed" | wc -l)" -le 3 ] || return "$status"
    say "once more, alone:" $failed
    # shellcheck disable=SC2086 # a name of a test has no blanks
    cargo test --color never --locked --no-fail-fast --workspace -- --exact --test-threads=1 $failed || return 1
    UNSTEADY="$failed"
}

# Whether every program of tests came to its end, and the names in `failed` are all its failures.
all_are_known() {
    [ -n "$failed" ] &&
        [ "$(grep -c '^ *Running \|^ *Doc-tests ' "$output")" -eq "$(grep -c '^test result: ' "$output")" ] &&
        [ "$(sed -n 's/^test result: FAILED.* \([0-9]*\) failed;.*/\1/p' "$output" | awk '{ sum += $1 } END { print sum }')" -eq \
            "$(printf '%s\n' "$failed" | wc -l)" ]
}

# The tests on the embedded broker, with a client in Rust in place of Java's, and those without a broker.
quick_tests() {
    cargo test --locked --lib --bins
    TEST_WITHOUT_JAVA=yes cargo test --locked --test it --no-fail-fast -- \
        embedded:: delivery:: docs:: front_door:: guard:: hostile:: programs:: supervisor:: \
        --skip kafka_ --skip java --skip clients:: --skip codecs:: --skip openapi:: --skip page:: --skip harness:: \
        --skip big_database --skip ten_thousand --skip a_message_is_committed_before
}

# Where many tests run at once, they have many files open.
ulimit -S -n 4096 2>/dev/null || true
export CC=/bin/false CXX=/bin/false
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0
mkdir -p target
TEST_TIMES=$PWD/target/test-times
rm -f "$TEST_TIMES"
export TEST_TIMES

step "set-up" set_up
step "formatting" cargo fmt --all --check
step "lints" lints
if [ "$MODE" = quick ]; then
    step "compiling the tests" cargo test --locked --lib --bins --test it --no-run
    step "tests" quick_tests
    exit
fi
step "no C, no async runtime" check_dependencies
step "documentation" documentation
step "compiling the tests" cargo test --locked --workspace --no-run
if [ "$MODE" = long ]; then
    step "packages" cargo package --locked --workspace --exclude foreign --allow-dirty
    export TEST_ROOM=1 TEST_FIGURES=yes BIG_DATABASE_MIB="${BIG_DATABASE_MIB:-5000}"
    if [ $# -eq 0 ]; then
        step "programs" cargo build --locked --bins
        step "others' test suites" tests/suites/run.sh
        step "alerts" alerts
        step "packaging" packaging/test.sh
        step "Windows" packaging/check-windows.sh
    fi
    [ $# -gt 0 ] || set -- durability:: secured::kafka_4_3::authentication_ queue::chaos:: queue::mixed:: leases::chaos:: --include-ignored --nocapture
    step "figures" cargo test --locked --test it --no-fail-fast -- "$@"
else
    step "tests" run_tests --workspace "$@"
fi
