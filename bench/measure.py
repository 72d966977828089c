"""The measurements of bench/run.sh, which prepares what this needs and explains the options.

Every figure comes with its proof: the 200s of an HTTP measurement must equal the growth of the topic's end offsets, and
the committed offsets after a consuming measurement must equal the number of printed messages. CPU and memory are those
of the measured program alone, from /proc.
"""

import argparse
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

ROOT = pathlib.Path(__file__).resolve().parent.parent
JARS = ROOT / ".kafka" / "4.3.1" / "*"
CLUSTER_ID = "cG9pbnQtdG8tcG9pbnQtMQ"
PARTITIONS = 4
CONNECTIONS = (1, 16, 64)
BODY = b'{"id":1,"contenido":"Hola desde Kafka, este mensaje tiene unos cien bytes, como los de cada dia ...."}'
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, seconds, ask):
    """Asks until the answer is true; gives up after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.1)
    sys.exit(f"bench: not within {seconds} s: {what}")


def accepts(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Process:
    """A child process with the CPU and memory that it has used; killed at the end of its `with` block."""

    def __init__(self, command, **options):
        self.started = time.time()
        self.child = subprocess.Popen([str(word) for word in command], **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(15)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def peak_mib(self):
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


class Broker:
    """A broker as a process, and what the measurements ask of it; its kinds say how it is started."""

    def __init__(self, port, process):
        self.port, self.process = port, process
        self.bootstrap = f"127.0.0.1:{port}"

    def __enter__(self):
        wait_for("the broker listens", 60, lambda: accepts(self.port))
        self.admin = wait_for("the broker answers", 60, self._try_admin)
        return self

    def _try_admin(self):
        with contextlib.suppress(Exception):
            return KafkaAdminClient(bootstrap_servers=self.bootstrap)

    def __exit__(self, *problem):
        self.process.__exit__(*problem)

    def create_topic(self, name):
        self.admin.create_topics([NewTopic(name, PARTITIONS, 1)])

    def stored(self, topic):
        """How many messages the topic holds."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap)
        ends = consumer.end_offsets([TopicPartition(topic, number) for number in range(PARTITIONS)])
        consumer.close()
        return sum(ends.values())

    def committed(self, group):
        """How many messages the group has committed in all."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False)
        total = sum(
            consumer.committed(TopicPartition(group, number)) or 0 for number in range(PARTITIONS)
        )
        consumer.close()
        return total

    def fill(self, topic, count):
        producer = KafkaProducer(bootstrap_servers=self.bootstrap, linger_ms=20)
        for number in range(count):
            producer.send(topic, BODY, partition=number % PARTITIONS)
        producer.flush()
        producer.close()


class Kafka(Broker):
    """One real broker with Kafka's default settings, and those that `more` has, each with its line's end."""

    name = "Kafka 4.3.1"

    def __init__(self, folder, more=""):
        port, controller = free_port(), free_port()
        properties = folder / "server.properties"
        properties.write_text(
            "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n"
            f"controller.quorum.voters=1@127.0.0.1:{controller}\n"
            f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n"
            f"log.dirs={folder / 'data'}\noffsets.topic.replication.factor=1\n"
            "transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n"
            "group.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\n" + more
        )
        java = ["java", "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", JARS]
        format_command = [*java, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", properties]
        with open(folder / "kafka.log", "wb") as log:
            subprocess.run([str(w) for w in format_command], check=True, stdout=log, stderr=log)
            super().__init__(port, Process([*java, "kafka.Kafka", properties], stdout=log, stderr=log))


class Embedded(Broker):
    """The embedded broker, in a process that does nothing else; it stands by where another one has folder and port."""

    name = "the embedded broker"

    def __init__(self, folder, programs, port=None):
        port = port or free_port()
        settings = ("kafka.bootstrap_servers=[]", f"embedded.listen=127.0.0.1:{port}", "embedded.data_dir=data",
                    f"adapter.listen=127.0.0.1:{free_port()}", "log.file=", "log.level=warn")
        command = [programs / "adapter", *(word for setting in settings for word in ("--set", setting))]
        super().__init__(port, Process(command, cwd=folder))


class Ours:
    def __init__(self, programs, commit="message"):
        self.programs, self.commit = pathlib.Path(programs), commit
        self.name = "point-to-point" if commit == "message" else f"point-to-point, {commit}"

    def _command(self, program, kafka, topic, *settings):
        common = (f"kafka.bootstrap_servers={kafka.bootstrap}", f"kafka.topic={topic}", "log.file=")
        options = [word for setting in (*common, *settings) for word in ("--set", setting)]
        return [self.programs / program, *options]

    def producer(self, kafka, topic, port):
        # The seed logs nothing for a message either.
        return self._command("producer_api", kafka, topic, f"producer_api.listen=127.0.0.1:{port}", "log.level=warn")

    def consumer(self, kafka, topic, group):
        settings = (f"consumer.group={group}", f"consumer.commit={self.commit}", "log.level=warn")
        return self._command("consumer1", kafka, topic, *settings)


class Seed:
    name = "seed (Flask, kafka-python)"

    def producer(self, kafka, topic, port):
        return [sys.executable, ROOT / "bench/seed/productor.py", kafka.bootstrap, topic, port]

    def consumer(self, kafka, topic, group):
        return [sys.executable, ROOT / "bench/seed/consumidor.py", kafka.bootstrap, topic, group]


def post(port, connections, seconds, size=len(BODY)):
    """Runs wrk with bodies of so many bytes; gives (200s, rate, p50 ms, p99 ms)."""
    command = [
        "wrk", "--latency", "-t", min(connections, 2), "-c", connections, "-d", f"{seconds + 3}s", "--timeout", "20s",
        "-s", ROOT / "bench/post.lua", f"http://127.0.0.1:{port}/enviar", "--", seconds, size,
    ]
    printed = subprocess.run([str(w) for w in command], check=True, capture_output=True, text=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) ([\d.]+) (\d+) (\d+)", printed)
    stored, other, broken, took, p50, p99 = (float(word) for word in found.groups())
    if other or broken:
        sys.exit(f"bench: {other:.0f} answers that are not 200, {broken:.0f} broken connections")
    return int(stored), stored / took, p50 / 1000, p99 / 1000


def measure_http(kafka, contestant, connections, seconds, folder):
    topic = f"http-{uuid.uuid4().hex[:8]}"
    kafka.create_topic(topic)
    port = free_port()
    with Process(contestant.producer(kafka, topic, port), cwd=folder, stderr=subprocess.DEVNULL,
                 stdout=subprocess.DEVNULL) as server:
        wait_for(f"{contestant.name} listens", 30, lambda: accepts(port))
        warm, *_ = post(port, connections, 2)
        cpu = server.cpu_seconds()
        stored, rate, p50, p99 = post(port, connections, seconds)
        cpu, peak = server.cpu_seconds() - cpu, server.peak_mib()
        ends = kafka.stored(topic)
        if ends != warm + stored:
            sys.exit(f"bench: {contestant.name}: {warm + stored} answers 200, but the end offsets say {ends}")
    print(f"{contestant.name:28} {connections:11} {rate:9.0f} {p50:8.2f} {p99:8.2f} "
          f"{cpu / stored * 1000:11.3f} {peak:7.0f}   {ends} = {warm + stored}", flush=True)
    return rate


def measure_consuming(kafka, contestant, count, folder):
    # The group is named after the topic: one word for both.
    topic = f"consuming-{uuid.uuid4().hex[:8]}"
    kafka.create_topic(topic)
    kafka.fill(topic, count)
    with Process(contestant.consumer(kafka, topic, topic), cwd=folder, stdout=subprocess.PIPE,
                 stderr=subprocess.DEVNULL) as consumer:
        watch = threading.Timer(300, consumer.child.kill)
        watch.start()
        printed, first, last, cpu = 0, 0.0, 0.0, 0.0
        for line in consumer.child.stdout:
            if line.startswith(b"Mensaje recibido: "):
                printed += 1
                if printed == 1:
                    first, cpu = time.monotonic(), consumer.cpu_seconds()
                if printed == count:
                    last, cpu, peak = time.monotonic(), consumer.cpu_seconds() - cpu, consumer.peak_mib()
                    break
        watch.cancel()
        if printed < count:
            sys.exit(f"bench: {contestant.name} printed {printed} of {count} messages")
        committed = wait_for("all is committed", 10, lambda: (kafka.committed(topic) == count) and count)
    rate = (count - 1) / (last - first)
    print(f"{contestant.name:28} {rate:11.0f} {cpu / count * 1000:11.3f} {peak:7.0f}   {committed} = {count}",
          flush=True)
    return rate


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", required=True)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--only", choices=("ours", "seed"))
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    options = parser.parse_args()
    contestants = {"ours": (Ours(options.programs), options.messages), "seed": (Seed(), options.messages // 4)}
    further = [] if options.only == "seed" else [Ours(options.programs, mode) for mode in ("pipelined", "poll")]
    chosen = [contestants[options.only]] if options.only else list(contestants.values())
    folder = pathlib.Path(tempfile.mkdtemp(prefix="point-to-point-bench-"))
    try:
        broker = Embedded(folder, pathlib.Path(options.programs)) if options.broker == "embedded" else Kafka(folder)
        with broker as kafka:
            print(f"on {broker.name}\n\nHTTP -> stored (acks=all)\n"
                  f"{'':28} {'connections':>11} {'req/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'CPU s/1000':>11} "
                  f"{'MiB':>7}   end offsets = 200s")
            for contestant, _ in chosen:
                for connections in CONNECTIONS:
                    measure_http(kafka, contestant, connections, options.seconds, folder)
            print("\nconsuming, a commit after each message\n"
                  f"{'':28} {'messages/s':>11} {'CPU s/1000':>11} {'MiB':>7}   committed = printed")
            rates = [measure_consuming(kafka, contestant, count, folder) for contestant, count in chosen]
            if further:
                print("\nthe other commit modes of ours")
                more = [measure_consuming(kafka, contestant, options.messages, folder) for contestant in further]
                ratio = " : ".join(f"{rate / rates[0]:.1f}" for rate in (rates[0], *more))
                print(f"message : pipelined : poll = {ratio}")
            print(f"\n{broker.name} itself: {broker.process.cpu_seconds():.0f} CPU seconds, "
                  f"{broker.process.peak_mib():.0f} MiB")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
