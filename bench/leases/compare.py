"""The figures of messages out over HTTP, which run.sh prepares and README.md explains.

Each figure comes with its proof: every message is received, and none twice; and where it is ours, the committed offsets
equal the number of messages.
"""

import dataclasses
import json
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

import push
from servers import ElasticMq, Endpoint

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import comparing  # noqa: E402
from comparing import spread  # noqa: E402
from measure import Embedded, Kafka  # noqa: E402

# A run that takes longer is given up.
LONGEST = 300
# Before it is measured a server does one part in so many: Java compiles what is used often.
WARM = 5


@dataclasses.dataclass(frozen=True)
class Pull:
    """Workers, each with a connection, receive up to `batch` messages and acknowledge them."""

    name: str
    messages: int
    connections: int
    batch: int

    columns = ("rate", "cpu_seconds", "peak_mib")

    def run(self, server, load, scale, _):
        count = max(1_000, int(self.messages * scale))
        with server.started() as (processes, address, name):
            warm = max(1_000, count // WARM)
            ask(load, "fill", server.kind, address, name, warm)
            ask(load, "pull", server.kind, address, name, warm, self.batch, self.connections)
            ask(load, "fill", server.kind, address, name, count)
            cpu = sum(process.cpu_seconds() for process in processes)
            took = ask(load, "pull", server.kind, address, name, count, self.batch, self.connections)
            cpu, peak = sum(process.cpu_seconds() for process in processes) - cpu, peaks(processes)
            wrong = [f"{took[what]} {what}" for what in ("missing", "twice") if took[what]]
            wrong += server.wrong(name, warm + count)
        return {"rate": count / took["seconds"], "cpu_seconds": cpu, "peak_mib": peak, "wrong": wrong}


@dataclasses.dataclass(frozen=True)
class Latency:
    """One message after the other is posted while one receiver waits."""

    name: str
    messages: int

    columns = ("p50_ms", "p99_ms", "peak_mib")

    def run(self, server, load, scale, _):
        count = max(100, int(self.messages * scale))
        warm = max(100, count // WARM)
        with server.started() as (processes, address, name):
            ask(load, "latency", server.kind, address, name, warm)
            took = ask(load, "latency", server.kind, address, name, count)["milliseconds"]
            wrong, peak = server.wrong(name, warm + count), peaks(processes)
        at = lambda share: took[min(count - 1, int(share * count))]  # noqa: E731
        return {"p50_ms": at(0.5), "p99_ms": at(0.99), "peak_mib": peak, "wrong": wrong}


@dataclasses.dataclass(frozen=True)
class Push:
    """Our consumer pushes to a server that is away for a while."""

    name: str

    columns = ("rate", "in_flight_after_5_s", "seconds_to_90_percent", "cpu_seconds", "peak_mib")

    def run(self, server, load, _, folder):
        return push.run(server, load, folder)


ROWS = [
    Pull("64x10", 200_000, 64, 10),
    Pull("64x1", 60_000, 64, 1),
    Pull("200x10", 200_000, 200, 10),
    Pull("200x1", 60_000, 200, 1),
    Latency("post-to-receive", 1_000),
    Push("push-50ms"),
]


def ask(load, *words):
    """What the load program prints."""
    done = subprocess.run([load, *map(str, words)], capture_output=True, text=True, timeout=LONGEST)
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]}: {done.stderr.strip()[-400:]}")
    return json.loads(done.stdout) if done.stdout else None


def peaks(processes):
    """The peak of resident memory of the endpoint, or of the only process."""
    return processes[0].peak_mib()


def compare(row, servers, options, folder):
    """All rounds of one row, servers in turn; gives a result for each of them."""
    if isinstance(row, Push):
        servers = [server for server in servers if server.kind == "ours"]
    results = [{"row": row.name, "server": server.name, "runs": []} for server in servers]
    for _ in range(options.rounds):
        for server, result in zip(servers, results):
            try:
                result["runs"].append(row.run(server, options.load, options.scale, folder))
            except (RuntimeError, subprocess.SubprocessError) as problem:
                print(f"{row.name:16} {server.name:28} {problem}", flush=True)
    results = [result for result in results if result["runs"]]
    for result in results:
        runs = result["runs"]
        result["medians"] = {name: statistics.median(one[name] for one in runs) for name in row.columns}
        texts = [f"{name} {spread([one[name] for one in runs], 0 if name == 'rate' else 2)}" for name in row.columns]
        wrong = "; ".join(text for one in runs for text in one["wrong"]) or "all once"
        print(f"{row.name:16} {result['server']:28} {'  '.join(texts)}   {wrong}", flush=True)
    return results


def main():
    options = comparing.options(ROWS, ("programs", "jars"), ("embedded", "kafka"))
    options.load = options.programs / "examples" / "lease_figures"
    # So that the servers end with this program.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    peers = sorted(path.name for path in options.jars.glob("elasticmq-server*.jar"))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="point-to-point-bench-"))
    results = []
    try:
        with Kafka(folder) if options.broker == "kafka" else Embedded(folder, options.programs) as broker:
            ours = [Endpoint(broker, options.programs, folder)]
            theirs = [ElasticMq(options.jars, folder), ElasticMq(options.jars, folder, on_disk=True)]
            servers = {"ours": ours, "theirs": theirs}.get(options.only, ours + theirs)
            for row in comparing.chosen(ROWS, options):
                results += compare(row, servers, options, folder)
                comparing.save(options, peers, results, scale=options.scale)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
