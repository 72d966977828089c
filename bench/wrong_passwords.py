"""The cost of wrong passwords for good traffic: python3 bench/wrong_passwords.py [--programs target/release] [--rounds 5].

Starts producer_api with a broker of its own, whose data is in memory where /dev/shm is, so that the processor is the
limit; needs wrk. Good traffic is 64 connections that post with a token. In each round it runs alone, then beside a
client that tries wrong passwords, each another one, from one address or from many (127.0.0.0/8), and then, for
comparison, beside one that sends as many wrong tokens, which cost the endpoint next to nothing: the difference to
the rate alone is the share of the client and of its connections in the two cores. Every try has to be answered. The processor time of
the thread that checks passwords is its own in any case, however busy the machine is.
"""

import argparse
import base64
import collections
import os
import pathlib
import re
import socket
import statistics
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BODY = b"{}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def request(authorization):
    head = f"POST /enviar HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Length: {len(BODY)}\r\n\r\n"
    return head.encode() + BODY


def wrong_password(number):
    return "Basic " + base64.b64encode(f"ana:wrong {time.monotonic_ns()} {number}".encode()).decode()


def wrong_token(number):
    return f"Bearer {number:064x}"


class Attack:
    """Tries `make(number)` `rate` times a second, each on a connection of its own, until it is stopped."""

    def __init__(self, port, make, rate, addresses):
        self.port, self.make, self.rate, self.addresses = port, make, rate, addresses
        self.statuses = collections.Counter()
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(lane,)) for lane in range(4)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def run(self, lane):
        opened, due = collections.deque(), time.monotonic()
        number = lane
        while not self.ended.wait(max(0, due - time.monotonic())):
            due += len(self.threads) / self.rate
            link = socket.socket()
            if self.addresses > 1:
                link.bind((f"127.1.{number % self.addresses // 250}.{number % self.addresses % 250 + 1}", 0))
            link.connect(("127.0.0.1", self.port))
            link.sendall(request(self.make(number)))
            opened.append(link)
            number += len(self.threads)
            # Answers to earlier tries; those that wait for a check may take seconds.
            for _ in range(min(len(opened), 2)):
                self.collect(opened, wait=False)
        while opened:
            self.collect(opened, wait=True)

    def collect(self, opened, wait):
        link = opened.popleft()
        link.settimeout(30 if wait else 0)
        try:
            answer = link.recv(1000)
            self.statuses[answer[9:12].decode() or "none"] += 1
            link.close()
        except BlockingIOError:
            opened.append(link)


def good_traffic(port, token, seconds):
    """Stored messages a second, and the 99th percentile in milliseconds."""
    command = ["wrk", "-t1", "-c64", f"-d{seconds + 2}s", "-s", ROOT / "bench/post.lua"]
    command += ["-H", f"Authorization: Bearer {token}", f"http://127.0.0.1:{port}/enviar", "--", str(seconds)]
    output = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True).stdout
    stored, other, broken, took, _, p99 = re.search(r"RESULT (\d+) (\d+) (\d+) ([\d.]+) (\d+) (\d+)", output).groups()
    assert int(other) == int(broken) == 0, output
    return int(stored) / float(took), int(p99) / 1000


def checking_seconds(process):
    """The processor time of the thread that checks passwords."""
    for thread in pathlib.Path(f"/proc/{process}/task").iterdir():
        name, fields = (thread / "stat").read_text().split("(", 1)[1].rsplit(") ", 1)
        if name == "http-users":
            ticks = fields.split()[11:13]
            return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    raise AssertionError("no such thread")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--programs", type=pathlib.Path, default=ROOT / "target/release")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=int, default=8)
    options.add_argument("--rate", type=int, default=250, help="wrong ones a second")
    options = options.parse_args()
    memory = pathlib.Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        users, port = pathlib.Path(folder) / "users.toml", free_port()
        settings = [f"producer_api.users_file={users}", f"producer_api.listen=127.0.0.1:{port}", "log.file=",
                    f"embedded.listen=127.0.0.1:{free_port()}", f"embedded.data_dir={folder}/data", "log.level=error"]
        settings = [word for setting in settings for word in ("--set", setting)]
        add = [options.programs / "point-to-point", "users", "add", "ana", "--rights", "send", "--token", "--password"]
        made = subprocess.run(add + settings, input="geheim-geheim\n", capture_output=True, text=True, check=True)
        program = subprocess.Popen([options.programs / "producer_api", *settings])
        try:
            measure(options, port, made.stdout.strip(), program.pid)
        finally:
            program.terminate()
            program.wait(15)


def measure(options, port, token, process):
    deadline = time.monotonic() + 30
    while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
        assert time.monotonic() < deadline, "it does not listen"
        time.sleep(0.1)
    good_traffic(port, token, 2)
    attacks = {
        "wrong passwords, one address": (wrong_password, 1),
        "wrong passwords, 500 addresses": (wrong_password, 500),
        "wrong tokens": (wrong_token, 1),
    }
    ratios, rates, p99s, shares = (collections.defaultdict(list) for _ in range(4))
    statuses = collections.defaultdict(collections.Counter)
    for _ in range(options.rounds):
        for name, (make, addresses) in attacks.items():
            alone, _ = good_traffic(port, token, options.seconds)
            busy, begun = checking_seconds(process), time.monotonic()
            with Attack(port, make, options.rate, addresses) as attack:
                beside, p99 = good_traffic(port, token, options.seconds)
                shares[name].append((checking_seconds(process) - busy) / (time.monotonic() - begun))
            ratios[name].append(beside / alone)
            rates[name].append(beside)
            p99s[name].append(p99)
            statuses[name] += attack.statuses
    for name in attacks:
        ratio, rate, share, p99 = (statistics.median(found[name]) for found in (ratios, rates, shares, p99s))
        low, high = min(ratios[name]), max(ratios[name])
        print(f"{name}: {ratio:.1%} ({low:.1%}-{high:.1%}) of the rate alone, {rate:.0f}/s, p99 {p99:.1f} ms; "
              f"checks take {share:.1%} of a core; answers {dict(statuses[name])}")


if __name__ == "__main__":
    main()
