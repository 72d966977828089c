# What the tests of packaging/ share; `fail` is that of the script that reads this.

has() { command -v "$1" >/dev/null 2>&1; }

# need PROGRAM PACKAGE: installs it where that is possible.
need() {
    has "$1" && return
    if [ "$(id -u)" -eq 0 ] && has apt-get; then
        apt-get update -qq >/dev/null 2>&1 || true
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null 2>&1 || true
    fi
    has "$1" || fail "$1 is needed: install $2"
}

# eventually SECONDS COMMAND...: until it succeeds.
eventually() {
    seconds=$1
    shift
    until=$(($(date +%s) + seconds))
    until "$@"; do
        [ "$(date +%s)" -lt "$until" ] || fail "not within $seconds s: $*"
        sleep 0.2
    done
}

# A port that nobody has now.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
