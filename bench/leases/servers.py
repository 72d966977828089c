"""What compare.py receives messages from: our endpoint with its broker, and ElasticMQ."""

import contextlib
import pathlib
import sys
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from measure import Ours, Process, accepts, free_port, wait_for  # noqa: E402


class Endpoint:
    """Our endpoint on a broker: a message is on the broker's disk before it is received, and what is acknowledged is
    committed there."""

    kind = "ours"

    def __init__(self, broker, programs, folder):
        self.broker, self.programs, self.folder, self.name = broker, programs, folder, f"ours, {broker.name}"

    @contextlib.contextmanager
    def started(self):
        """The endpoint with a topic of its own; gives its processes, its address, and the topic."""
        topic, port = f"leases-{uuid.uuid4().hex[:8]}", free_port()
        self.broker.create_topic(topic)
        command = Ours(self.programs).producer(self.broker, topic, port)
        with open(self.folder / "endpoint.log", "wb") as log:
            with Process(command, cwd=self.folder, stdout=log, stderr=log) as process:
                wait_for("the endpoint listens", 30, lambda: accepts(port))
                yield [process, self.broker.process], f"127.0.0.1:{port}", topic

    def wrong(self, topic, count):
        """What the broker says against the figures. The group is called as its topic."""
        with contextlib.suppress(SystemExit):
            wait_for("all is committed", 15, lambda: self.broker.committed(topic) == count)
        said = self.broker.committed(topic)
        return [] if said == count else [f"{said} of {count} committed"]


class ElasticMq:
    """ElasticMQ with its settings for a start from the jar, which keep all messages in memory."""

    kind = "sqs"

    def __init__(self, jars, folder, on_disk=False):
        self.jars, self.folder, self.on_disk = jars, folder, on_disk
        self.name = "ElasticMQ, H2 on disk" if on_disk else "ElasticMQ, in memory"

    @contextlib.contextmanager
    def started(self):
        port = free_port()
        settings = self.folder / "elasticmq.conf"
        stored = self.folder / f"elasticmq-{port}"
        settings.write_text(
            'include classpath("application.conf")\n'
            f'node-address {{ protocol = http, host = "127.0.0.1", port = {port}, context-path = "" }}\n'
            f'rest-sqs {{ enabled = true, bind-port = {port}, bind-hostname = "127.0.0.1" }}\n'
            "rest-stats { enabled = false }\n"
            f'messages-storage {{ enabled = {str(self.on_disk).lower()}, uri = "jdbc:h2:{stored}" }}\n'
        )
        command = ["java", "-Xmx512m", f"-Dconfig.file={settings}", "-cp", f"{self.jars}/*",
                   "org.elasticmq.server.Main"]
        with open(self.folder / "elasticmq.log", "wb") as log:
            with Process(command, cwd=self.folder, stdout=log, stderr=log) as process:
                wait_for("ElasticMQ listens", 120, lambda: accepts(port))
                yield [process], f"127.0.0.1:{port}", "cola"

    def wrong(self, *_):
        return []
