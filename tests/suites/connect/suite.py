"""Kafka Connect, distributed, with two connectors: lines of a file go through a topic into another file."""

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request

import jars
from brokers import free_ports
from support import Result

TITLE = f"Kafka Connect {jars.VERSION}, distributed"
BROKER = {"embedded": {"kafka.partitions": 1}, "kafka": {"num.partitions": 1}}
PATIENCE = 90
PACKAGE = "org.apache.kafka.connect.file"
WORKER = """\
bootstrap.servers={bootstrap}
group.id=connect
listeners=http://127.0.0.1:{port}
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
config.storage.topic=connect-configs
offset.storage.topic=connect-offsets
status.storage.topic=connect-status
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
offset.storage.partitions=5
offset.flush.interval.ms=500
plugin.discovery=service_load
"""


def prepare(setup):
    return jars.more(setup)


class Worker:
    """A worker, and what is asked of it over HTTP."""

    def __init__(self, suite, classpath, name):
        (self.port,) = free_ports(1)
        path = suite.folder / "files" / f"{name}.properties"
        path.write_text(WORKER.format(bootstrap=suite.bootstrap, port=self.port))
        self.log = suite.folder / f"{name}.log"
        command = jars.java(classpath, "org.apache.kafka.connect.cli.ConnectDistributed", [str(path)])
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)

    def ask(self, method, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        request.add_header("Content-Type", "application/json")
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, timeout=30) as answer:
                text = answer.read()
                return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code}: {error.read().decode()[:500]}") from None

    def ended(self):
        if self.process.poll() is not None:
            lines = self.log.read_text(errors="replace").splitlines()
            causes = [line for line in lines if line.startswith("Caused by:")]
            raise AssertionError(f"the worker ended: {(causes or ['it tells no cause'])[0]}")

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def eventually(worker, what, condition):
    """Waits until `condition` gives something true."""
    end, last = time.monotonic() + PATIENCE, None
    while time.monotonic() < end:
        worker.ended()
        try:
            found = condition()
            if found:
                return found
        except (AssertionError, OSError) as error:
            last = error
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {PATIENCE} s: {last}")


def is_running(worker, connector):
    status = worker.ask("GET", f"/connectors/{connector}/status")
    tasks = [task["state"] for task in status["tasks"]]
    if "FAILED" in tasks:
        raise AssertionError(status["tasks"][0].get("trace", "")[:500])
    return status["connector"]["state"] == "RUNNING" and tasks == ["RUNNING"]


def run(suite, classpath):
    files = suite.setup.fresh("files")
    source, sink = files / "source.txt", files / "sink.txt"
    source.write_text("".join(f"line {number}\n" for number in range(100)))
    sink.write_text("")
    first = [f"line {number}" for number in range(100)]
    second = [f"more {number}" for number in range(50)]
    results = []
    worker = Worker(suite, classpath, "worker1")

    def step(name, body):
        """One test. What follows one that failed fails, too: it would only wait."""
        if results and not results[-1].passed:
            results.append(Result(name, "failed", f"after: {results[-1].message}"))
            return
        try:
            body()
            results.append(Result(name, "passed"))
        except (AssertionError, OSError) as error:
            results.append(Result(name, "failed", str(error)))

    def starts():
        eventually(worker, "the worker answers", lambda: worker.ask("GET", "/connectors") == [])

    def source_runs():
        config = {"connector.class": f"{PACKAGE}.FileStreamSourceConnector", "file": str(source), "topic": "lines"}
        worker.ask("POST", "/connectors", {"name": "source", "config": config | {"tasks.max": "1"}})
        eventually(worker, "the source runs", lambda: is_running(worker, "source"))

    def sink_runs():
        config = {"connector.class": f"{PACKAGE}.FileStreamSinkConnector", "file": str(sink), "topics": "lines"}
        worker.ask("POST", "/connectors", {"name": "sink", "config": config | {"tasks.max": "1"}})
        eventually(worker, "the sink runs", lambda: is_running(worker, "sink"))

    def has(lines):
        return eventually(worker, f"{len(lines)} lines have come", lambda: sink.read_text().splitlines() == lines)

    def offsets_are_shown():
        eventually(worker, "the source's offset", lambda: position() == source.stat().st_size)
        eventually(worker, "the sink's offset", lambda: lag_is_zero())

    def position():
        offsets = worker.ask("GET", "/connectors/source/offsets")["offsets"]
        return offsets and offsets[0]["offset"]["position"]

    def lag_is_zero():
        offsets = worker.ask("GET", "/connectors/sink/offsets")["offsets"]
        return offsets and offsets[0]["offset"]["kafka_offset"] == 100

    def restarts():
        nonlocal worker
        worker.stop()
        with source.open("a") as more:
            more.writelines(f"{line}\n" for line in second)
        worker = Worker(suite, classpath, "worker2")
        eventually(worker, "it runs again", lambda: is_running(worker, "source") and is_running(worker, "sink"))
        has(first + second)

    def resets():
        worker.ask("PUT", "/connectors/sink/stop")
        stopped = lambda: worker.ask("GET", "/connectors/sink/status")["connector"]["state"] == "STOPPED"
        eventually(worker, "the sink is stopped", stopped)
        eventually(worker, "its offsets are reset", lambda: worker.ask("DELETE", "/connectors/sink/offsets"))
        worker.ask("PUT", "/connectors/sink/resume")
        has(first + second + first + second)

    try:
        step("a worker starts", starts)
        step("a source connector runs", source_runs)
        step("a sink connector runs", sink_runs)
        step("lines go from file to file", lambda: has(first))
        step("offsets are shown", offsets_are_shown)
        step("a restarted worker goes on where it was", restarts)
        step("offsets are reset", resets)
    finally:
        worker.stop()
    return results
