#!/bin/sh
# Tries what packaging/ makes: the static programs in an empty root and on an emulated processor, man pages and completions
# in what reads them, the Debian package in a Debian with systemd as process 1, the manifests against Kubernetes' schemas.
# `./test.sh long` calls it; it takes minutes, root, and Debian's packages.
#
#   packaging/test.sh             all of it
#   packaging/test.sh PART...     build, documents, units, empty_root, emulated, container, debian, kubernetes:
#                                 each after `build`
set -eu
cd "$(dirname "$0")/.."

WORK=$PWD/target/packaging-test
DIST=$PWD/target/dist
NATIVE=x86_64-unknown-linux-musl
EMULATED=aarch64-unknown-linux-musl
KUBERNETES_VERSIONS="1.37.0 1.31.0 1.28.0"
# What systemd-analyze says of the units, from 0 to 10; docs/packaging.md names it.
MOST_EXPOSURE=1.4

say() { printf '== %s\n' "$*"; }
fail() { printf 'packaging/test.sh: %s\n' "$*" >&2; exit 1; }

. packaging/functions.sh

# Processes that were started here end with this script, in whatever way it ends.
STARTED=
end() {
    for process in $STARTED; do
        # Whoever has become another user outlives the one that has started it.
        # shellcheck disable=SC2046 # numbers
        kill -KILL $(pgrep -P "$process") "$process" 2>/dev/null || true
    done
}
trap end EXIT
trap 'exit 1' INT TERM HUP

# post PORT BODY: the status of the answer is 200.
post() {
    python3 - "$1" "$2" <<'PYTHON'
import sys, urllib.request
request = urllib.request.Request(f"http://127.0.0.1:{sys.argv[1]}/enviar", sys.argv[2].encode())
try:
    sys.exit(0 if urllib.request.urlopen(request, timeout=20).status == 200 else 1)
except OSError:
    sys.exit(1)
PYTHON
}

part_build() {
    packaging/build.sh --deb $NATIVE $EMULATED
    packaging/container/context.sh $NATIVE $EMULATED
}

part_documents() {
    need man man-db
    need mandoc mandoc
    need zsh zsh
    need fish fish
    for page in "$DIST"/documents/man/*.1; do
        warnings=$(man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null; mandoc -T lint -W warning "$page" 2>&1 || true)
        [ -z "$warnings" ] || fail "$page: $warnings"
    done
    completions=$DIST/documents/completions
    for script in "$completions"/zsh/*; do zsh -n "$script"; done
    for script in "$completions"/bash/*; do bash -n "$script"; done
    offered=$(fish --no-config -c "source $completions/fish/point-to-point.fish; complete -C 'point-to-point pe'" | cut -f 1)
    [ "$offered" = peek ] || fail "fish offers '$offered' after 'point-to-point pe'"
}

part_units() {
    need systemd-analyze systemd
    root=$WORK/units
    rm -rf "$root"
    mkdir -p "$root/usr/bin" "$root/usr/lib/systemd" "$root/etc/systemd/system"
    ln -s usr/lib "$root/lib"
    cp -r /lib/systemd/system "$root/usr/lib/systemd/"
    cp "$DIST/$NATIVE/point-to-point" "$root/usr/bin/"
    cp packaging/systemd/*.service "$root/etc/systemd/system/"
    for unit in point-to-point.service point-to-point-consumer@bills.service; do
        said=$(systemd-analyze verify --man=no --root="$root" "$unit" 2>&1) && [ -z "$said" ] || fail "$unit: $said"
    done
    for unit in packaging/systemd/*.service; do
        exposure=$(systemd-analyze security --offline=true "$unit" | sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p')
        printf '%s: exposure %s\n' "$unit" "$exposure"
        awk "BEGIN { exit !($exposure > 0 && $exposure <= $MOST_EXPOSURE) }" || fail "$unit: more exposed than $MOST_EXPOSURE"
    done
}

# The program as process 1 in a root with nothing else that cannot be written, as containers are, by a user without rights.
part_empty_root() {
    root=$WORK/empty
    rm -rf "$root"
    mkdir "$root"
    cp -r "$DIST/container/amd64/system/." "$DIST/container/amd64/state/." "$root"
    [ "$(find "$root" -type f)" = "$root/point-to-point" ] ||
        fail "there is more than the program in $root"
    mkdir "$root/proc"
    port=$(free_port) broker=$(free_port)
    unshare --mount --pid --fork --kill-child sh -ec '
        root=$1
        shift
        mount --make-rprivate /
        mount --bind "$root" "$root"
        mount -o remount,bind,ro "$root"
        mount -t proc proc "$root/proc"
        mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
        mount -t tmpfs -o mode=0700,uid=65532,gid=65532 tmpfs "$root/data"
        exec chroot --userspec=65532:65532 "$root" "$@"' sh "$root" \
        /point-to-point --set log.file= --set embedded.data_dir=/data --set "producer_api.listen=127.0.0.1:$port" \
        --set "embedded.listen=127.0.0.1:$broker" >"$WORK/empty.log" 2>&1 &
    around=$!
    STARTED="$STARTED $around"
    eventually 30 post "$port" '{"id":1}'
    eventually 30 grep -q '^consumer[12] | Mensaje recibido: {"id":1}$' "$WORK/empty.log"
    process=$(pgrep -P "$around")
    [ "$(stat -c %u "/proc/$process")" = 65532 ] || fail "it runs as another user"
    kill -TERM "$process"
    wait "$around" || fail "no clean end: $(tail -n 5 "$WORK/empty.log")"
}

# The programs for aarch64, without a machine of that kind. Its endpoint and a consumer are started on their own, as an
# emulator runs no children.
part_emulated() {
    need qemu-aarch64-static qemu-user-static
    folder=$WORK/emulated
    rm -rf "$folder"
    mkdir -p "$folder"
    port=$(free_port) broker=$(free_port)
    settings="--set log.file= --set embedded.data_dir=$folder/data --set embedded.listen=127.0.0.1:$broker"
    program="qemu-aarch64-static $DIST/$EMULATED/point-to-point"
    # shellcheck disable=SC2086 # words
    $program producer-api $settings --set "producer_api.listen=127.0.0.1:$port" >"$folder/endpoint.log" 2>&1 &
    endpoint=$!
    # shellcheck disable=SC2086
    $program consumer $settings >"$folder/consumer.log" 2>&1 &
    consumer=$!
    STARTED="$STARTED $endpoint $consumer"
    eventually 120 post "$port" '{"id":1}'
    eventually 60 grep -q '^Mensaje recibido: {"id":1}$' "$folder/consumer.log"
    kill -TERM "$consumer" "$endpoint"
    wait "$consumer" && wait "$endpoint" || fail "no clean end: $(tail -n 5 "$folder"/*.log)"
    tls_on_the_emulated_processor
}

# TLS has assembly for each processor: its endpoint is asked over HTTPS.
tls_on_the_emulated_processor() {
    cp tests/it/tls/cert.pem tests/it/tls/key.pem "$folder/"
    chmod 600 "$folder/key.pem"
    # shellcheck disable=SC2086
    $program producer-api $settings --set "producer_api.listen=127.0.0.1:$port" --set "producer_api.tls_key=$folder/key.pem" \
        --set "producer_api.tls_certificate=$folder/cert.pem" >"$folder/tls.log" 2>&1 &
    endpoint=$!
    STARTED="$STARTED $endpoint"
    eventually 120 python3 -c "
import ssl, sys, urllib.request
context = ssl._create_unverified_context()
try: sys.exit(0 if urllib.request.urlopen('https://127.0.0.1:$port/healthz', context=context).status == 200 else 1)
except OSError: sys.exit(1)"
    kill -TERM "$endpoint"
    wait "$endpoint" || fail "no clean end: $(tail -n 5 "$folder/tls.log")"
}

# The image as the Containerfile makes it, and a container of it, by buildah: it needs no engine.
part_container() {
    need buildah buildah
    store="--root $WORK/images --runroot $WORK/images-run --storage-driver vfs"
    # shellcheck disable=SC2086 # words
    buildah $store bud --quiet --isolation chroot --format docker --build-arg TARGETARCH=amd64 \
        -f packaging/container/Containerfile -t point-to-point "$DIST/container" >/dev/null
    # shellcheck disable=SC2086
    container=$(buildah $store from localhost/point-to-point)
    # shellcheck disable=SC2086
    files=$(buildah $store mount "$container")
    found=$(cd "$files" && stat -c '%n %u %a' point-to-point tmp data | tr '\n' ' ')
    [ "$found" = "point-to-point 0 755 tmp 0 1777 data 65532 700 " ] || fail "the files of the image are $found"
    port=$(free_port) broker=$(free_port)
    # shellcheck disable=SC2086
    buildah $store run --isolation chroot --env POINT_TO_POINT__PRODUCER_API__ANYONE_MAY_SEND=true "$container" -- \
        /point-to-point --set "producer_api.listen=0.0.0.0:$port" --set "embedded.listen=127.0.0.1:$broker" \
        >"$WORK/container.log" 2>&1 &
    around=$!
    STARTED="$STARTED $around"
    eventually 30 post "$port" '{"id":1}'
    process=$(pgrep -f "^/point-to-point --set producer_api.listen=0.0.0.0:$port" | head -n 1)
    STARTED="$STARTED $process"
    eventually 30 grep -q 'Mensaje recibido: {"id":1}' "$WORK/container.log"
    [ "$(stat -c %u "/proc/$process")" = 65532 ] || fail "it runs as another user"
    kill -TERM "$process"
    wait "$around" || fail "no clean end: $(tail -n 5 "$WORK/container.log")"
    # shellcheck disable=SC2086
    buildah $store rm --all >/dev/null && buildah $store rmi --all --force >/dev/null
}

part_kubernetes() {
    venv=$WORK/kubernetes
    [ -x "$venv/bin/kubernetes-validate" ] || {
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install -q --disable-pip-version-check kubernetes-validate
    }
    for version in $KUBERNETES_VERSIONS; do
        "$venv/bin/kubernetes-validate" -k "$version" --strict packaging/kubernetes/*.yaml
    done
}

part_debian() {
    packaging/debian/test.sh
}

mkdir -p "$WORK"
need python3 python3
need pgrep procps
[ $# -gt 0 ] || set -- build documents units empty_root emulated container debian kubernetes
for part in "$@"; do
    say "$part"
    "part_$part"
    # Each part has waited for the end of what it has started.
    STARTED=
done
