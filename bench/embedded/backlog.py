"""A broker with a backlog: how soon it is read, what a reader of cold files costs the writers, and the take-over."""

import contextlib
import os
import subprocess
import threading
import time

from servers import Ours, RealKafka, answer, ask, kill

TOPIC, COLD = "live", "backlog"
BYTES = 250
MESSAGES = 1_000_000
# A file that was changed within so many seconds is one that is written now.
WRITTEN_NOW = 2
CONNECTIONS = (1, 64)
COLUMNS = [("filled", "filled, MB/s", 0), ("read", "1,000,000 messages read, s", 2), ("resident", "MiB then", 0),
           ("share-1", "1 writer beside a cold reader", 2), ("share-64", "64 writers beside it", 2),
           ("reader-64", "messages/s it reads then", 0), ("from-disk-64", "MB/s from disk", 0),
           ("take-over", "next acknowledgement after kill -9, ms", 0)]


class Evicting:
    """Has the system forget what it has in memory of the files of a folder, again and again, while it is entered."""

    def __init__(self, folder):
        self.folder, self.end = folder, threading.Event()
        self.thread = threading.Thread(target=self.work, name="evicting")

    def __enter__(self):
        self.once()
        self.thread.start()

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()

    def work(self):
        while not self.end.wait(0.2):
            self.once()

    def once(self):
        for path in self.folder.rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file() and time.time() - path.stat().st_mtime > WRITTEN_NOW:
                    file = os.open(path, os.O_RDONLY)
                    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                    os.close(file)


def sync(folder):
    """Has all files of a folder written to the disk, so that the system can forget them."""
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                file = os.open(path, os.O_RDONLY)
                os.fsync(file)
                os.close(file)


def read_beside(given, running):
    """A reader of the backlog that leaves the cores to the others, as far as it is the reader that needs them."""
    words = [given.load, "cycle", f"--address={running.address}", f"--topic={COLD}",
             f"--seconds={given.seconds + 1.5}", f"--rate={given.reader_rate}"]
    return subprocess.Popen(["nice", "-n", "19", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)


def beside_a_reader(given, running):
    """The rates of writers alone, before and after, and beside a reader, all while the files of the backlog are cold;
    gives figures, and how many messages were written."""
    figures, total = {}, 0
    pids = ",".join(map(str, running.pids()))
    with Evicting(running.folder):
        for connections in CONNECTIONS:
            write = lambda: ask(given.load, "publish", address=running.address, topic=TOPIC, bytes=BYTES,  # noqa: E731
                                connections=connections, seconds=given.seconds, pids=pids)
            before = write()
            with read_beside(given, running) as reader:
                beside = write()
                printed, said = reader.communicate()
            read = answer("cycle", reader.returncode, printed, said)
            after = write()
            alone = (before["rate"] + after["rate"]) / 2
            figures |= {f"share-{connections}": beside["rate"] / alone, f"alone-{connections}": alone,
                        f"beside-{connections}": beside["rate"], f"reader-{connections}": read["rate"],
                        f"from-disk-{connections}": beside["from_disk"] / given.seconds / 1e6}
            total += before["total"] + beside["total"] + after["total"]
    return figures, total


def take_over(given, server, running, total):
    """Kills the process that holds the data while another one stands by; gives figures and what is wrong."""
    successor = server.standing_by(running)
    try:
        # As long as it takes to start, so that it stands by.
        time.sleep(1)
        gap = ask(given.load, "gap", address=running.address, topic=TOPIC, bytes=BYTES, pids=running.process.child.pid)
        total += gap["total"]
        stored = ask(given.load, "count", address=running.address, topic=TOPIC)["messages"]
    finally:
        kill(successor)
    wrong = "" if stored == total else f"{stored} stored, {total} acknowledged"
    return {"take-over": gap["milliseconds"], "wrong": wrong}


def one_round(given, server):
    messages = max(MESSAGES, int(given.gigabytes * 1e9 / BYTES))
    with server.started() as running:
        ask(given.load, "first", address=running.address, topic=TOPIC, bytes=BYTES)
        # Kafka need not sync a backlog, of which only the reading is measured.
        unsynced = {} if isinstance(server, Ours) else {"config": f"flush.messages={2 ** 62}"}
        ask(given.load, "create", address=running.address, topic=COLD, **unsynced)
        filled = ask(given.load, "fill", address=running.address, topic=COLD, bytes=BYTES, messages=messages)
        sync(running.folder)
        read = ask(given.load, "read", address=running.address, topic=COLD, messages=MESSAGES)
        figures = {"filled": messages * BYTES / filled["seconds"] / 1e6, "read": read["seconds"],
                   "resident": running.resident_mib(), "wrong": ""}
        beside, total = beside_a_reader(given, running)
        figures, total = figures | beside, total + 1
        if isinstance(server, Ours):
            figures |= take_over(given, server, running, total)
    return figures


def compare(given, contestants, say):
    """All rounds of those that Kafka's clients can read from; gives the figures of each contestant by its key."""
    results = {server.key: [] for server in contestants}
    measured = [server for server in contestants if isinstance(server, (Ours, RealKafka)) and server.key != "kafka"]
    for _ in range(given.backlog_rounds):
        for server in measured:
            try:
                done = one_round(given, server)
            except (RuntimeError, OSError, subprocess.SubprocessError, SystemExit) as problem:
                say(f"{server.name}: no figures with a backlog: {problem}")
                continue
            results[server.key].append(done)
            texts = [f"{name} {done[name]:,.{digits}f}" for name, _, digits in COLUMNS if name in done]
            say(f"{server.name:28} " + "  ".join(texts))
    return results
