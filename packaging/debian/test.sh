#!/bin/sh
# Tries the Debian package of this machine's kind: lintian, an installation by hand without systemd, and a Debian with systemd
# as process 1, in which the service has to start, be confined, live, and be watched. packaging/test.sh calls it, as root,
# after the package is built; with names of its parts those alone.
set -eu
cd "$(dirname "$0")/../.."

WORK=$PWD/target/packaging-test
DIST=$PWD/target/dist
ROOT=$WORK/debian
VERSION=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
PACKAGE=point-to-point_${VERSION}_amd64.deb

say() { printf -- '-- %s\n' "$*"; }
fail() { printf 'debian/test.sh: %s\n' "$*" >&2; exit 1; }

. packaging/functions.sh

[ "$(id -u)" -eq 0 ] || fail "it takes root"
[ -f "$DIST/$PACKAGE" ] || fail "$DIST/$PACKAGE is not there: packaging/build.sh --deb"
need lintian lintian
need mmdebstrap mmdebstrap

AROUND= BY_HAND=
end() {
    for process in $AROUND $BY_HAND; do
        kill -KILL "$process" 2>/dev/null || true
    done
}
trap end EXIT
trap 'exit 1' INT TERM HUP

# A Debian with little but systemd. Made once; each run begins with a copy.
lay_root() {
    image=$WORK/debian.tar
    if [ ! -f "$image" ]; then
        say "fetching a Debian"
        apt-config dump Acquire >"$WORK/apt.conf"
        cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources 2>/dev/null >"$WORK/debian.sources" || true
        mmdebstrap --quiet --format=tar --variant=minbase --include=systemd,python3-minimal --aptopt="$WORK/apt.conf" \
            "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$image.new" "$WORK/debian.sources"
        mv "$image.new" "$image"
    fi
    rm -rf "$ROOT"
    mkdir -p "$ROOT"
    tar -xf "$image" -C "$ROOT"
    cp "$DIST/$PACKAGE" "$ROOT/"
}

# inside COMMAND...: in the root, with the kernel's /proc, while nothing runs there.
inside() {
    unshare --mount --pid --fork --kill-child sh -ec 'root=$1
        shift
        mount --make-rprivate /
        mount -t proc proc "$root/proc"
        exec chroot "$root" "$@"' sh "$ROOT" "$@"
}

# there COMMAND...: beside the systemd that runs in the root.
there() { nsenter --target "$SYSTEMD" --mount --pid --net --ipc --uts --root --wd "$@"; }

files_of_lintian() {
    say "lintian"
    for package in "$DIST"/point-to-point_"${VERSION}"_*.deb; do
        lintian --fail-on error,warning --allow-root "$package" || fail "lintian finds faults in $package"
    done
}

# Without systemd, as in a container or for another init: the program works by hand, and what was installed goes again.
by_hand() {
    say "installing without systemd"
    lay_root
    inside dpkg -i "/$PACKAGE" >"$WORK/dpkg.log" 2>&1 || fail "it cannot be installed: $(cat "$WORK/dpkg.log")"
    inside sh -ec '
        [ "$(stat -c "%U %a" /var/lib/point-to-point)" = "point-to-point 750" ]
        for page in point-to-point point-to-point-peek point-to-point-topics-create; do gzip -t /usr/share/man/man1/$page.1.gz; done
        [ -e /etc/systemd/system/multi-user.target.wants/point-to-point.service ]
        dpkg --verify point-to-point' || fail "the installed files are not as they should be"
    inside sh -ec '
        cd /var/lib/point-to-point
        setpriv --reuid=point-to-point --regid=point-to-point --clear-groups --inh-caps=-all \
            /usr/bin/point-to-point --config /etc/point-to-point/config.toml --set producer_api.listen=127.0.0.1:0 \
            --set embedded.listen=127.0.0.1:$1 >/tmp/log 2>&1 &
        for round in $(seq 100); do grep -q "consumer2 | Esperando mensajes" /tmp/log && break; sleep 0.2; done
        kill -TERM $!
        wait $!
        grep -q "consumer2 | Esperando mensajes" /tmp/log
        [ "$(stat -c %U /var/lib/point-to-point/data)" = point-to-point ]' sh "$(free_port)" ||
        fail "the program does not work with the installed settings: $(cat "$ROOT/tmp/log")"
    inside dpkg -r point-to-point >/dev/null 2>&1
    [ ! -e "$ROOT/usr/bin/point-to-point" ] || fail "the program is still there after dpkg -r"
    [ -e "$ROOT/etc/point-to-point/config.toml" ] && [ -e "$ROOT/var/lib/point-to-point/data" ] ||
        fail "dpkg -r took the settings or the messages"
    inside dpkg -P point-to-point >/dev/null 2>&1
    left=$(find "$ROOT/etc" "$ROOT/var/lib" "$ROOT/usr" -name '*point-to-point*' ! -path "$ROOT/var/lib/dpkg/*" | head -n 5)
    [ -z "$left" ] || fail "there is something left after dpkg -P: $left"
}

# systemd as process 1 over the root.
boot() {
    lay_root
    unshare --mount --pid --fork --net --ipc --uts --kill-child packaging/boot.sh "$ROOT" >"$WORK/boot.log" 2>&1 &
    AROUND=$!
    eventually 10 pgrep -P "$AROUND" >/dev/null
    SYSTEMD=$(pgrep -P "$AROUND")
    eventually 60 is_up
}

is_up() {
    state=$(there systemctl is-system-running 2>/dev/null) || true
    [ "$state" = running ] || [ "$state" = degraded ]
}

property() { there systemctl show --property="$2" --value "$1"; }

has_status() { case $(property "$1" StatusText) in "$2"*) ;; *) return 1 ;; esac; }

# journal UNIT TEXT: whether the log of the unit has a line with this.
journal() { there journalctl --quiet --unit="$1" --output=cat | grep -qF -- "$2"; }

# post: the endpoint there stores a message.
post() {
    there python3 -c "
import socket, sys
try: link = socket.create_connection(('127.0.0.1', 5000), 10)
except OSError: sys.exit(1)
link.sendall(b'POST /enviar HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${#1}\r\nConnection: close\r\n\r\n' + b'''$1''')
sys.exit(0 if link.recv(100).startswith(b'HTTP/1.1 200 ') else 1)"
}

restarts() { [ "$(property point-to-point NRestarts)" -ge "$1" ]; }

child() { there sh -c "grep -lz '^$1\$' /proc/[0-9]*/cmdline 2>/dev/null | cut -d / -f 3" | head -n 1; }

as_a_service() {
    say "a Debian with systemd"
    boot
    there dpkg -i "/$PACKAGE" >"$WORK/dpkg.log" 2>&1 || fail "it cannot be installed: $(cat "$WORK/dpkg.log")"
    unit=point-to-point.service
    [ "$(there systemctl is-enabled $unit)" = enabled ] && [ "$(there systemctl is-active $unit)" = active ] ||
        fail "the service does not run: $(there systemctl status $unit)"
    post '{"id":1}' || fail "the service does not take a message once it is started"
    eventually 30 journal $unit 'Mensaje recibido: {"id":1}'
    eventually 30 has_status $unit 'messages for topic'

    say "its confinement lets a handler run, and not write elsewhere"
    there sh -ec 'mkdir -p /etc/systemd/system/point-to-point.service.d
        printf "[Service]\nWatchdogSec=4\n" >/etc/systemd/system/point-to-point.service.d/watchdog.conf
        printf "\n[consumer]\nhandler = [\"/usr/bin/python3\", \"/usr/local/bin/handler\"]\n" >>/etc/point-to-point/config.toml
        cat >/usr/local/bin/handler' <<'PYTHON'
import os, sys
print("handled", sys.stdin.read(), "as", os.geteuid() != 0)
open("/var/lib/point-to-point/done", "a").write("x")
open("/tmp/done", "a").write("x")
try: open("/etc/done", "a")
except OSError as error: print("elsewhere:", error.strerror)
print("manager:", os.environ.get("NOTIFY_SOCKET"))
PYTHON
    there systemctl daemon-reload
    there systemctl restart $unit
    post '{"id":2}'
    eventually 30 journal $unit 'handled {"id":2} as True'
    eventually 30 journal $unit 'elsewhere: Read-only file system'
    eventually 30 journal $unit 'manager: None'
    [ ! -e "$ROOT/tmp/done" ] || fail "the service writes to the /tmp of others"

    say "a frozen endpoint is restarted, a frozen consumer and a Kafka that is away are not"
    there sh -c "kill -STOP $(child consumer1)"
    sleep 10
    restarts 1 && fail "a frozen consumer had the service restarted"
    there sh -c "kill -STOP $(child producer-api)"
    eventually 60 restarts 1
    eventually 60 post '{"id":3}'
    there sh -ec 'echo POINT_TO_POINT__KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:1 >/etc/point-to-point/environment'
    there systemctl restart $unit || fail "without a Kafka the service does not start"
    eventually 30 has_status $unit 'not ready: '
    before=$(property $unit NRestarts)
    sleep 10
    [ "$(property $unit NRestarts)" = "$before" ] || fail "an outage had the service restarted"
    there rm /etc/point-to-point/environment
    there systemctl restart $unit

    say "one more consumer"
    there systemctl start point-to-point-consumer@bills.service || fail "$(there systemctl status point-to-point-consumer@bills)"
    eventually 30 has_status point-to-point-consumer@bills.service 'consuming as bills'
    eventually 30 journal point-to-point-consumer@bills.service 'Esperando mensajes'

    say "stop, new version, removal, purge"
    there systemctl stop $unit
    [ "$(property $unit Result)" = success ] || fail "the stop was no clean one: $(property $unit Result)"
    there systemctl start $unit
    there dpkg --force-confold -i "/$PACKAGE" >"$WORK/dpkg.log" 2>&1 || fail "no new version: $(cat "$WORK/dpkg.log")"
    there grep -q handler /etc/point-to-point/config.toml || fail "the settings are lost with a new version"
    eventually 60 post '{"id":4}'
    there dpkg -P point-to-point >"$WORK/dpkg.log" 2>&1 || fail "it cannot be removed: $(cat "$WORK/dpkg.log")"
    [ -z "$(child consumer1)" ] || fail "the service still runs after dpkg -P"
    [ ! -e "$ROOT/var/lib/point-to-point" ] && [ ! -e "$ROOT/etc/point-to-point" ] || fail "there is something left after dpkg -P"
}

[ $# -gt 0 ] || set -- files_of_lintian by_hand as_a_service
for part in "$@"; do
    "$part"
done
