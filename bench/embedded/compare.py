"""The figures of the embedded broker beside other servers, which run.sh prepares and README.md explains.

Each figure comes with its proof: as many messages are stored as were acknowledged.
"""

import argparse
import contextlib
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import backlog
from servers import ask, servers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import comparing  # noqa: E402
from comparing import spread  # noqa: E402
from measure import post, wait_for  # noqa: E402

CONNECTIONS = (1, 64)
BYTES = 250
TOPIC = "measured"
PAGE = bytes(4096)
# What the tables have: the figure, its title, and decimals.
PUBLISHING = [("rate-1", "1 connection, messages/s", 0), ("of-disk", "of bare syncs", 2),
              ("rate-64", "64 connections, messages/s", 0), ("written-1", "bytes written, 1", 0),
              ("written-64", "bytes written, 64", 0), ("resident", "MiB", 0), ("start", "start, s", 2)]
FURTHER = [("p50-1", "1 connection, p50 ms", 2), ("p99-1", "p99 ms", 2), ("p50-64", "64 connections, p50 ms", 2),
             ("p99-64", "p99 ms", 2), ("cpu-1", "server's CPU ms for 1,000, 1", 0),
             ("cpu-64", "server's CPU ms for 1,000, 64", 0), ("load-64", "cores of the load, 64", 2)]
# Seconds at 64 connections before anything is measured: Java compiles what is used often.
WARM = 2
# Seconds of bare syncs, before the measurement at one connection and after it: other work may take the disk meanwhile.
BARE = 0.5


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", required=True, type=comparing.folder_there)
    parser.add_argument("--built", required=True, type=comparing.folder_there)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backlog-rounds", type=int, default=1, help="rounds with a backlog; 0: none")
    parser.add_argument("--seconds", type=float, default=2, help="length of each measurement")
    parser.add_argument("--gigabytes", type=float, default=1, help="size of the backlog")
    parser.add_argument("--reader-rate", type=int, default=0,
                        help="messages a second that the cold reader takes at most; 0: no limit")
    parser.add_argument("--only", default="", help="some of the contestants: embedded,http,kafka-flush,...")
    parser.add_argument("--folder", type=comparing.folder_there, help="where the data are, on the disk to measure")
    parser.add_argument("--output", type=pathlib.Path, help="a file for all figures, as JSON")
    parser.add_argument("--markdown", type=pathlib.Path, help="a file for the tables, which are printed, too")
    return parser.parse_args()


def say(text):
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def before_all_others():
    """Has this thread run as soon as it can, where that is allowed: on busy cores a thread that the disk wakes waits
    for its turn, which may take ten times as long as the disk."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def bare_syncs(given):
    """How many times a second the disk takes 4 KiB more of a file and has it synced."""
    with before_all_others():
        return syncs(given)


def syncs(given):
    path = given.folder / "syncs"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        done, begun = 0, time.monotonic()
        while time.monotonic() - begun < BARE:
            os.write(file, PAGE)
            os.fdatasync(file)
            done += 1
        return done / (time.monotonic() - begun)
    finally:
        os.close(file)
        path.unlink()


def over_http(running, connections, seconds):
    """As the load program, with wrk."""
    written, cpu = running.written(), running.process.cpu_seconds()
    stored, rate, p50, p99 = post(running.port(), connections, max(1, round(seconds)), BYTES)
    return {"rate": rate, "p50_ms": p50, "p99_ms": p99, "total": stored,
            "cpu_ms": (running.process.cpu_seconds() - cpu) * 1e6 / stored,
            "written": (running.written() - written) / stored, "resident_mib": running.resident_mib()}


def publishing(given, running, connections, seconds, warm=0.5):
    if running.kind == "http":
        return over_http(running, connections, seconds)
    return ask(given.load, "publish", kind=running.kind, address=running.address, topic=TOPIC, bytes=BYTES,
               connections=connections, seconds=seconds, warm=warm, pids=",".join(map(str, running.pids())))


def one_round(given, server, disk):
    """Starts a server and publishes to it; gives its figures, and adds rates of the disk."""
    figures = {}
    with server.started() as running:
        first = ask(given.load, "first", kind=running.kind, address=running.address, topic=TOPIC, bytes=BYTES)
        figures["start"] = first["at"] - running.process.started
        total = 1 + publishing(given, running, CONNECTIONS[-1], WARM, 0)["total"]
        for connections in CONNECTIONS:
            if connections == 1:
                disk.append(bare_syncs(given))
            done = publishing(given, running, connections, given.seconds)
            if connections == 1:
                disk.append(bare_syncs(given))
                figures["of-disk"] = done["rate"] * 2 / sum(disk[-2:])
            figures |= {f"{name}-{connections}": done[f"{name}_ms"] for name in ("p50", "p99", "cpu")}
            figures |= {f"load-{connections}": done["load_cores"]} if "load_cores" in done else {}
            figures |= {f"{name}-{connections}": done[name] for name in ("rate", "written")}
            figures["resident"] = done["resident_mib"]
            total += done["total"]
        figures["wrong"] = wrong(given, running, total)
    return figures


def wrong(given, running, total):
    """What the server says against the figures."""
    kind, address = running.asked
    stored = lambda: ask(given.load, "count", kind=kind, address=address, topic=TOPIC)["messages"]  # noqa: E731
    with contextlib.suppress(SystemExit):
        wait_for("all is counted", 5, lambda: stored() == total)
        return ""
    return f"{stored()} stored, {total} acknowledged"


def compare(given, contestants):
    """All rounds, servers in turn; gives the figures of each by its key, and the rates of the disk."""
    figures, disk = {server.key: [] for server in contestants}, []
    for number in range(given.rounds):
        say(f"round {number + 1} of {given.rounds}")
        for server in contestants:
            try:
                done = one_round(given, server, disk)
            except (RuntimeError, OSError, subprocess.SubprocessError, SystemExit) as problem:
                say(f"{server.name}: left out of this round: {problem}")
                continue
            figures[server.key].append(done)
            say(f"{server.name:28} " + "  ".join(f"{name} {done[name]:,.{digits}f}" for name, _, digits in PUBLISHING))
    return figures, disk


def table(columns, contestants, figures):
    """A table in Markdown of medians with their ranges."""
    lines = ["| | " + " | ".join(title for _, title, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for server in contestants:
        runs = figures.get(server.key)
        if runs:
            cells = [spread([run[name] for run in runs], digits) if all(name in run for run in runs) else ""
                     for name, _, digits in columns]
            lines.append(f"| {server.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def report(given, contestants, figures, disk, backlogs):
    parts = [f"Bare syncs of the disk: {spread(disk)} a second." if disk else ""]
    parts += [table(PUBLISHING, contestants, figures), table(FURTHER, contestants, figures)] if disk else []
    if any(backlogs.values()):
        parts += [f"With {given.gigabytes:g} GB:", table(backlog.COLUMNS, contestants, backlogs)]
    problems = [f"{server.name}: {run['wrong']}" for server in contestants
                for run in figures[server.key] + backlogs[server.key] if run["wrong"]]
    parts.append("; ".join(problems) or "As many messages are stored as were acknowledged.")
    return "\n\n".join(part for part in parts if part)


def main():
    given = options()
    given.load = given.built / "load"
    # So that the servers end with this program.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    contestants = [server for server in servers(given) if not given.only or server.key in given.only.split(",")]
    for server in contestants:
        if server.missing():
            say(f"{server.name} is left out: {server.missing()}")
    contestants = [server for server in contestants if not server.missing()]
    peers = {server.name: server.version() for server in contestants}
    with tempfile.TemporaryDirectory(prefix="data-", dir=given.folder or given.built) as folder:
        given.folder = pathlib.Path(folder)
        figures, disk = compare(given, contestants)
        backlogs = backlog.compare(given, contestants, say)
    comparing.save(given, peers, {"bare_syncs": disk, "publishing": figures, "backlog": backlogs},
                   seconds=given.seconds, gigabytes=given.gigabytes, bytes=BYTES,
                   reader_rate=given.reader_rate)
    text = report(given, contestants, figures, disk, backlogs)
    print(text)
    if given.markdown:
        given.markdown.write_text(text + "\n")


if __name__ == "__main__":
    main()
