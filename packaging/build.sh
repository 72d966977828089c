#!/bin/sh
# Static release programs for Linux, each one file without a library beside it, in target/dist/TARGET:
#
#   packaging/build.sh                              x86_64-unknown-linux-musl and aarch64-unknown-linux-musl
#   packaging/build.sh x86_64-unknown-linux-musl    that one
#   packaging/build.sh --deb [TARGET...]            and a Debian package of each, in target/dist
#
# No C compiler and no linker of another machine is needed: Rust brings musl's objects and its own linker, rust-lld.
# (What Cargo runs while it builds, on this machine, is linked by `cc` as ever.)
set -eu
cd "$(dirname "$0")/.."

DIST=target/dist
DEB=
TARGETS=

say() { printf '== %s\n' "$*"; }
fail() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

for argument in "$@"; do
    case $argument in
        --deb) DEB=yes ;;
        -*) fail "there is no option $argument: build.sh [--deb] [TARGET...]" ;;
        *-linux-musl) TARGETS="$TARGETS $argument" ;;
        *) fail "$argument is no target with musl, of which static programs are made (rustc --print target-list)" ;;
    esac
done
[ -n "$TARGETS" ] || TARGETS="x86_64-unknown-linux-musl aarch64-unknown-linux-musl"

# The standard library of a target, which rustup fetches where it may.
need_target() {
    [ -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ] && return
    has rustup && rustup target add "$1" || true
    [ -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ] ||
        fail "the standard library of $1 is missing: rustup target add $1"
}

# Rust's own tools for all targets, which rustup brings along and some distributions leave out.
need_tools() {
    SYSROOT=$(rustc --print sysroot)
    TOOLS=$SYSROOT/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
    for tool in rust-lld rust-objcopy; do
        [ -x "$TOOLS/$tool" ] || fail "$tool is missing in $TOOLS; the Rust of rustup has it (rustup toolchain install stable)"
    done
}

# build TARGET: all programs.
build() {
    target=$1
    need_target "$target"
    say "building for $target"
    name=$(printf '%s' "$target" | tr 'a-z-' 'A-Z_')
    # Paths of this machine are in no program, and no flags but these are used.
    flags=$(printf '%s\037%s' "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=/crates" \
        "--remap-path-prefix=$PWD=/point-to-point")
    env "CARGO_TARGET_${name}_LINKER=rust-lld" "CARGO_ENCODED_RUSTFLAGS=$flags" CARGO_TARGET_DIR=target cargo build --locked --release --bins --target "$target"
    folder=$DIST/$target
    rm -rf "$folder"
    mkdir -p "$folder"
    for program in $(programs); do
        # Without the names of functions, which a crash shows by file and line anyway: a sixth smaller.
        LD_LIBRARY_PATH=$SYSROOT/lib "$TOOLS/rust-objcopy" --strip-all "target/$target/release/$program" "$folder/$program"
    done
    check "$folder"
}

# The names of the programs.
programs() { awk '/^\[/ { is_bin = $0 == "[[bin]]" } is_bin && /^name = / { gsub(/"/, ""); print $3 }' Cargo.toml; }

# A static program names no interpreter and needs no library.
check() {
    for program in "$1"/*; do
        needs=$(LC_ALL=C readelf -ld "$program") || fail "$program cannot be read"
        case $needs in *INTERP* | *'(NEEDED)'*) fail "$program is not static: $needs" ;; esac
    done
    du -k "$1"/* | awk '{ printf "%8.1f MiB  %s\n", $1 / 1024, $2 }'
}

need_tools
has readelf || fail "readelf is needed to look at what was built: install binutils"
for target in $TARGETS; do
    build "$target"
done
[ -z "$DEB" ] || packaging/debian/build.sh $TARGETS
