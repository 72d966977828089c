#!/bin/sh
# Checks that all programs and crates compile for Windows, without errors and warnings. Nothing is linked, so no linker for
# Windows is needed. Rust's standard library for it is added by rustup where it is missing.
set -eu
cd "$(dirname "$0")/.."

TARGET=x86_64-pc-windows-gnu

fail() { printf 'check-windows.sh: %s\n' "$*" >&2; exit 1; }
has_target() { [ -d "$(rustc --print sysroot)/lib/rustlib/$TARGET/lib" ]; }

command -v cargo >/dev/null 2>&1 || fail "cargo is missing: install Rust (docs/building.md)"
if ! has_target && command -v rustup >/dev/null 2>&1; then
    rustup target add "$TARGET" || true
fi
has_target || fail "Rust's standard library for $TARGET is missing: rustup target add $TARGET"

export CC=/bin/false CXX=/bin/false
cargo clippy --locked --workspace --lib --bins --target "$TARGET" -- -D warnings
tree=$(cargo tree --locked --workspace -e normal,build --prefix none --target "$TARGET")
bad=$(printf '%s\n' "$tree" | grep -E '^(cc|cmake|pkg-config|tokio|async-std|smol) v' | sort -u || true)
[ -z "$bad" ] || fail "a C build or an async runtime came in with: $bad (cargo tree --target $TARGET -e normal,build -i NAME)"
