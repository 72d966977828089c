"""What TLS and SASL to the brokers cost: `bench/run.sh --security` prepares what this needs.

One Kafka has a listener of each kind. HTTP -> stored at 64 connections and consuming alternate between them, round by
round, so that whatever else the machine does meets all alike; then the time from the start of `producer_api` to its first
stored message. Figures come with the proofs of bench/measure.py.
"""

import argparse
import http.client
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time
import uuid

from measure import (
    CLUSTER_ID, JARS, Broker, Ours, Process, accepts, free_port, measure_consuming, measure_http, wait_for,
)

CONNECTIONS = 64
PASSWORD = "bench-password"
KINDS = {
    "plaintext": [],
    "tls": ["kafka.security=tls"],
    "sasl_tls": ["kafka.security=sasl_tls", "kafka.sasl_mechanism=SCRAM-SHA-512", "kafka.sasl_username=bench"],
}


def make_certificate(folder):
    """A key store for the broker, and the certificate for its clients."""
    store, certificate = folder / "broker.p12", folder / "ca.pem"
    common = ["-keystore", store, "-storetype", "PKCS12", "-storepass", PASSWORD, "-alias", "broker"]
    make = ["keytool", "-genkeypair", *common, "-keyalg", "RSA", "-keysize", "2048", "-dname", "CN=localhost",
            "-ext", "san=dns:localhost,ip:127.0.0.1", "-validity", "30"]
    export = ["keytool", "-exportcert", "-rfc", *common, "-file", certificate]
    for command in (make, export):
        subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return store, certificate


class SecuredKafka(Broker):
    """One real broker with a listener of each kind, and Kafka's default settings otherwise."""

    name = "Kafka 4.3.1"

    def __init__(self, folder):
        ports = {kind: free_port() for kind in ("plaintext", "tls", "sasl_tls", "controller")}
        names = {"plaintext": "PLAINTEXT", "tls": "SSL", "sasl_tls": "SASL_SSL", "controller": "CONTROLLER"}
        store, self.certificate = make_certificate(folder)
        self.password = folder / "password"
        self.password.touch(0o600)
        self.password.write_text(PASSWORD)
        listeners = ",".join(f"{names[kind]}://127.0.0.1:{port}" for kind, port in ports.items())
        properties = folder / "server.properties"
        properties.write_text(
            "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n"
            f"controller.quorum.voters=1@127.0.0.1:{ports['controller']}\nlisteners={listeners}\n"
            "listener.security.protocol.map="
            "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT\n"
            f"ssl.keystore.location={store}\nssl.keystore.type=PKCS12\nssl.keystore.password={PASSWORD}\n"
            "sasl.enabled.mechanisms=SCRAM-SHA-512\nlistener.name.sasl_ssl.scram-sha-512.sasl.jaas.config="
            "org.apache.kafka.common.security.scram.ScramLoginModule required;\n"
            f"log.dirs={folder / 'data'}\noffsets.topic.replication.factor=1\n"
            "transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n"
            "group.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\n"
        )
        java = ["java", "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", JARS]
        user = f"SCRAM-SHA-512=[name=bench,password={PASSWORD}]"
        make = [*java, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", properties, "--add-scram", user]
        with open(folder / "kafka.log", "wb") as log:
            subprocess.run([str(w) for w in make], check=True, stdout=log, stderr=log)
            super().__init__(ports["plaintext"], Process([*java, "kafka.Kafka", properties], stdout=log, stderr=log))
        self.ports = ports


class Secured(Ours):
    """Our programs over one kind of listener."""

    def __init__(self, programs, kind):
        super().__init__(programs)
        self.kind = kind
        self.name = f"point-to-point, {kind}"

    def _command(self, program, kafka, topic, *settings):
        tls = [f"kafka.tls_ca={kafka.certificate}"] if "tls" in self.kind else []
        tls += [f"kafka.sasl_password_file={kafka.password}"] if "sasl" in self.kind else []
        server = f"kafka.bootstrap_servers=127.0.0.1:{kafka.ports[self.kind]}"
        return super()._command(program, kafka, topic, *settings, server, *KINDS[self.kind], *tls)


def first_message(kafka, contestant, folder):
    """Milliseconds from the start of the endpoint to its first stored message."""
    topic = f"first-{uuid.uuid4().hex[:8]}"
    kafka.create_topic(topic)
    port = free_port()
    begun = time.monotonic()
    with Process(contestant.producer(kafka, topic, port), cwd=folder, stderr=subprocess.DEVNULL,
                 stdout=subprocess.DEVNULL):
        while not accepts(port):
            time.sleep(0.001)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("POST", "/enviar", b"1")
        status = connection.getresponse().status
        took = (time.monotonic() - begun) * 1000
    if status != 200:
        raise SystemExit(f"bench: the first message over {contestant.kind} was answered {status}")
    return took


def ratios(what, figures):
    plain = statistics.median(figures["plaintext"])
    said = ", ".join(
        f"{kind} {statistics.median(found):.0f} ({min(found):.0f}-{max(found):.0f}), {statistics.median(found) / plain:.2f}"
        for kind, found in figures.items()
    )
    print(f"{what}: median (range), ratio to plaintext: {said}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", required=True)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    contestants = [Secured(options.programs, kind) for kind in KINDS]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="point-to-point-bench-"))
    try:
        with SecuredKafka(folder) as kafka:
            wait_for("the broker listens with SASL", 30, lambda: accepts(kafka.ports["sasl_tls"]))
            stored, consumed, started = ({kind: [] for kind in KINDS} for _ in range(3))
            print(f"HTTP -> stored (acks=all)\n{'':28} {'connections':>11} {'req/s':>9} {'p50 ms':>8} {'p99 ms':>8} "
                  f"{'CPU s/1000':>11} {'MiB':>7}   end offsets = 200s")
            for _ in range(options.rounds):
                for contestant in contestants:
                    rate = measure_http(kafka, contestant, CONNECTIONS, options.seconds, folder)
                    stored[contestant.kind].append(rate)
            print(f"\nconsuming, a commit after each message\n{'':28} {'messages/s':>11} {'CPU s/1000':>11} "
                  f"{'MiB':>7}   committed = printed")
            for _ in range(options.rounds):
                for contestant in contestants:
                    rate = measure_consuming(kafka, contestant, options.messages, folder)
                    consumed[contestant.kind].append(rate)
            for _ in range(3 * options.rounds):
                for contestant in contestants:
                    started[contestant.kind].append(first_message(kafka, contestant, folder))
            print()
            ratios("stored messages/s", stored)
            ratios("consumed messages/s", consumed)
            ratios("ms from the start to the first stored message", started)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
