#!/bin/sh
# Debian packages of the static programs that packaging/build.sh has made: target/dist/point-to-point_VERSION_ARCH.deb.
#
#   packaging/debian/build.sh x86_64-unknown-linux-musl aarch64-unknown-linux-musl
#
# Made by dpkg-deb alone. Times in it are those of the last commit, or SOURCE_DATE_EPOCH.
set -eu
cd "$(dirname "$0")/../.."

DIST=target/dist
DOCUMENTS=$DIST/documents
: "${MAINTAINER:=point-to-point maintainers <maintainers@point-to-point.example>}"

fail() { printf 'debian/build.sh: %s\n' "$*" >&2; exit 1; }

[ $# -gt 0 ] || fail "which TARGET? As in: debian/build.sh x86_64-unknown-linux-musl"
command -v dpkg-deb >/dev/null 2>&1 || fail "dpkg-deb is needed: install dpkg"
VERSION=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
[ -n "$VERSION" ] || fail "Cargo.toml has no version of the workspace"
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || true)}"
[ -n "$SOURCE_DATE_EPOCH" ] || fail "no commit tells the time of the sources: give SOURCE_DATE_EPOCH"
export SOURCE_DATE_EPOCH

# put MODE FILE PLACE: a file of the package.
put() {
    mkdir -p "$(dirname "$ROOT/$3")"
    cp "$2" "$ROOT/$3"
    chmod "$1" "$ROOT/$3"
}

# put_zipped FILE PLACE: the same, packed, without name and time in it.
put_zipped() {
    mkdir -p "$(dirname "$ROOT/$2")"
    gzip -9 -n <"$1" >"$ROOT/$2"
    chmod 0644 "$ROOT/$2"
}

changelog() {
    printf 'point-to-point (%s) unstable; urgency=medium\n\n  * Made of the sources; CHANGELOG.md has what is new.\n\n' "$VERSION"
    printf ' -- %s  %s\n' "$MAINTAINER" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
}

copyright() {
    printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\n'
    printf 'Copyright: %s\nLicense: MIT\n' "$(sed -n 's/^Copyright (c) //p' LICENSE | head -n 1)"
    sed -n '/^Permission is hereby/,$p' LICENSE | sed 's/^$/./; s/^/ /'
}

# fill TARGET: the tree of the package in ROOT.
fill() {
    doc=usr/share/doc/point-to-point
    put 0755 "$DIST/$1/point-to-point" usr/bin/point-to-point
    put 0644 packaging/debian/config.toml etc/point-to-point/config.toml
    for unit in packaging/systemd/*.service; do
        put 0644 "$unit" "usr/lib/systemd/system/$(basename "$unit")"
    done
    for page in "$DOCUMENTS"/man/point-to-point*.1; do
        put_zipped "$page" "usr/share/man/man1/$(basename "$page").gz"
    done
    completions=$DOCUMENTS/completions
    put 0644 $completions/bash/point-to-point.bash usr/share/bash-completion/completions/point-to-point
    put 0644 $completions/zsh/_point-to-point usr/share/zsh/vendor-completions/_point-to-point
    put 0644 $completions/fish/point-to-point.fish usr/share/fish/vendor_completions.d/point-to-point.fish
    put 0644 config.toml $doc/examples/config.toml
    put 0644 packaging/grafana/point-to-point.json $doc/examples/grafana.json
    put 0644 packaging/prometheus/alerts.yml $doc/examples/prometheus-alerts.yml
    put 0644 README.md $doc/README.md
    put_zipped CHANGELOG.md $doc/CHANGELOG.md.gz
    changelog >"$WORK/changelog"
    put_zipped "$WORK/changelog" $doc/changelog.gz
    copyright >"$WORK/copyright"
    put 0644 "$WORK/copyright" $doc/copyright
    put 0644 packaging/debian/lintian-overrides usr/share/lintian/overrides/point-to-point
}

# about ARCHITECTURE: what dpkg is told of the package.
about() {
    (cd "$ROOT" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) >"$WORK/md5sums"
    size=$(find "$ROOT" -type f -printf '%s\n' | awk '{ sum += $1 } END { print int(sum / 1024) + 1 }')
    sed "s|@VERSION@|$VERSION|; s|@ARCHITECTURE@|$1|; s|@MAINTAINER@|$MAINTAINER|; s|@SIZE@|$size|" \
        packaging/debian/control.in >"$WORK/control"
    echo /etc/point-to-point/config.toml >"$WORK/conffiles"
    for file in control conffiles md5sums; do
        put 0644 "$WORK/$file" "DEBIAN/$file"
    done
    for script in postinst prerm postrm; do
        put 0755 "packaging/debian/$script" "DEBIAN/$script"
    done
}

# No page of a command that is not there any more.
rm -rf "$DOCUMENTS"
cargo run --quiet --locked --example documents -- "$DOCUMENTS"
umask 022
for target in "$@"; do
    [ -x "$DIST/$target/point-to-point" ] || fail "$DIST/$target is not there: packaging/build.sh $target"
    case $target in
        x86_64-*) architecture=amd64 ;;
        aarch64-*) architecture=arm64 ;;
        *) fail "Debian's name for $target is not known here" ;;
    esac
    WORK=$DIST/debian-$architecture
    ROOT=$WORK/root
    rm -rf "$WORK"
    mkdir -p "$ROOT"
    fill "$target"
    about "$architecture"
    dpkg-deb --root-owner-group -Zxz --build "$ROOT" "$DIST/point-to-point_${VERSION}_$architecture.deb"
done
