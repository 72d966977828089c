"""The servers that compare.py measures: each is started with an empty folder, and killed at the end."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from measure import Embedded, Kafka, Process, accepts, free_port, wait_for  # noqa: E402

# Seconds that the load program may take at most: filling in many gigabytes does take long.
LONGEST = 1_200
RABBITMQ = "/usr/lib/rabbitmq/lib"


def ask(load, command, **options):
    """What the load program prints."""
    words = [load, command, *(f"--{name}={value}" for name, value in options.items())]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=LONGEST)
    return answer(command, done.returncode, done.stdout, done.stderr)


def answer(command, code, printed, said):
    if code != 0:
        raise RuntimeError(f"{command}: {said.strip()[-400:]}")
    return json.loads(printed)


def family(pid):
    """The process and all that it has started, as far as they run."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            children = pathlib.Path(f"/proc/{one}/task/{one}/children").read_text()
            found += [int(word) for word in children.split()]
    return found


def kill(process):
    """Ends a server at once, with its children: its data are thrown away."""
    for pid in family(process.child.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.child.wait()


class Running:
    """A server that runs, or is about to: where it is asked for what, and its processes."""

    def __init__(self, process, folder, kind, address, asked=None):
        self.process, self.folder, self.kind, self.address = process, folder, kind, address
        # Where the number of stored messages is asked for: of the broker in the process of the HTTP endpoint.
        self.asked = asked or (kind, address)

    def pids(self):
        return family(self.process.child.pid)

    def port(self):
        return int(self.address.rsplit(":", 1)[1])

    def written(self):
        """Bytes that the processes had the disk write."""
        return self._sum("io", "write_bytes")

    def resident_mib(self):
        return self._sum("status", "VmRSS") / 1024

    def _sum(self, path, name):
        lines = [line for pid in self.pids() for line in pathlib.Path(f"/proc/{pid}/{path}").read_text().splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


class Server:
    """A contestant; its kinds say how it is started."""

    def __init__(self, given, key, name):
        self.given, self.key, self.name = given, key, name

    def missing(self):
        """Why it cannot be measured here, or nothing."""
        return None

    def version(self):
        return self.name

    @contextlib.contextmanager
    def started(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.key}-", dir=self.given.folder))
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            running = self.start(folder, stack)
            stack.callback(kill, running.process)
            yield running


class Ours(Server):
    """The program `adapter` with the embedded broker, of which it needs nothing else."""

    def start(self, folder, _):
        broker = Embedded(folder, self.given.programs)
        return Running(broker.process, folder, "kafka", broker.bootstrap)

    def standing_by(self, running):
        """Another process that waits for the folder of the one that runs."""
        return Embedded(running.folder, self.given.programs, running.port()).process


class OursOverHttp(Server):
    """The program `producer_api`: HTTP endpoint and broker in one process."""

    def missing(self):
        return None if shutil.which("wrk") else "wrk is missing"

    def start(self, folder, _):
        listen, broker = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        settings = ("kafka.bootstrap_servers=[]", f"embedded.listen={broker}", "embedded.data_dir=data", "log.file=",
                    "log.level=warn", f"producer_api.listen={listen}", "kafka.topic=measured")
        command = [self.given.programs / "producer_api", *(word for one in settings for word in ("--set", one))]
        with logged(folder) as log:
            process = Process(command, cwd=folder, stdout=log, stderr=log)
        return Running(process, folder, "http", listen, ("kafka", broker))


class RealKafka(Server):
    """Kafka, with other settings than the default ones where `more` has them."""

    def __init__(self, given, key, name, more=""):
        super().__init__(given, key, name)
        self.more = more

    def missing(self):
        return None if shutil.which("java") else "Java is missing"

    def version(self):
        return Kafka.name

    def start(self, folder, _):
        broker = Kafka(folder, self.more)
        return Running(broker.process, folder, "kafka", broker.bootstrap)


class Nats(Server):
    """JetStream that syncs each message before it acknowledges it."""

    def missing(self):
        return None if (self.given.built / "nats-server").exists() else "nats-server is not built"

    def version(self):
        told = subprocess.run([self.given.built / "nats-server", "--version"], capture_output=True, text=True)
        return told.stdout.strip()

    def start(self, folder, _):
        port, settings = free_port(), folder / "nats.conf"
        settings.write_text(
            f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder / "data"}", sync_interval: always }}\n'
        )
        with logged(folder) as log:
            process = Process([self.given.built / "nats-server", "-c", settings], stdout=log, stderr=log)
        return Running(process, folder, "nats", f"127.0.0.1:{port}")


class RabbitMq(Server):
    """RabbitMQ as Debian has it, with quorum queues of one replica, which sync before they confirm."""

    def missing(self):
        return None if self.program() and shutil.which("epmd") else "rabbitmq-server is missing"

    def version(self):
        return self.program().parent.parent.name

    def program(self):
        return next(iter(sorted(pathlib.Path(RABBITMQ).glob("rabbitmq_server-*/sbin/rabbitmq-server"))), None)

    def start(self, folder, stack):
        port, mapper = free_port(), free_port()
        names = {"HOME": folder, "ERL_EPMD_PORT": mapper, "ERL_EPMD_ADDRESS": "127.0.0.1",
                 "RABBITMQ_NODENAME": f"measured-{port}@localhost", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
                 "RABBITMQ_NODE_PORT": port, "RABBITMQ_DIST_PORT": free_port(), "RABBITMQ_MNESIA_BASE": folder / "data",
                 "RABBITMQ_LOG_BASE": folder, "RABBITMQ_PID_FILE": folder / "pid",
                 "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "plugins", "RABBITMQ_CONFIG_FILE": folder / "rabbitmq"}
        environment = os.environ | {name: str(value) for name, value in names.items()}
        (folder / "plugins").write_text("[].\n")
        # Erlang's register of names, which would else stay behind.
        with logged(folder) as log:
            register = Process(["epmd", "-port", mapper], env=environment, stdout=log, stderr=log)
            stack.callback(kill, register)
            wait_for("epmd listens", 10, lambda: accepts(mapper))
            process = Process([self.program()], env=environment, cwd=folder, stdout=log, stderr=log)
        return Running(process, folder, "amqp", f"127.0.0.1:{port}")


def logged(folder):
    """A file for what a server says; its last lines are shown when the server does not answer."""
    return open(folder / "server.log", "ab")


def servers(given):
    return [
        Ours(given, "embedded", "embedded broker"),
        OursOverHttp(given, "http", "embedded, over HTTP"),
        RealKafka(given, "kafka-flush", "Kafka, flush.messages=1", "log.flush.interval.messages=1\n"),
        RealKafka(given, "kafka", "Kafka"),
        Nats(given, "nats", "NATS JetStream, sync always"),
        RabbitMq(given, "rabbitmq", "RabbitMQ, quorum queues"),
    ]
