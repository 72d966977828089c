#!/bin/sh
# The files of the container, for the Containerfile beside this: target/dist/container/{amd64,arm64}.
#
#   packaging/container/context.sh TARGET...        of programs that packaging/build.sh has made
set -eu
cd "$(dirname "$0")/../.."

fail() { printf 'context.sh: %s\n' "$*" >&2; exit 1; }

[ $# -gt 0 ] || fail "which TARGET? As in: context.sh x86_64-unknown-linux-musl"
for target in "$@"; do
    case $target in
        x86_64-*) architecture=amd64 ;;
        aarch64-*) architecture=arm64 ;;
        *) fail "the name of $target in containers is not known here" ;;
    esac
    program=target/dist/$target/point-to-point
    [ -x "$program" ] || fail "$program is not there: packaging/build.sh $target"
    folder=target/dist/container/$architecture
    rm -rf "$folder"
    # Sockets between the program's own parts, and what is stored.
    mkdir -p "$folder/system/tmp" "$folder/state/data"
    chmod 1777 "$folder/system/tmp"
    chmod 0700 "$folder/state/data"
    cp "$program" "$folder/system/"
done
