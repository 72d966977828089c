"""The broker that a suite runs on: the embedded one, or a real Kafka to compare with."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

KAFKA = "4.3.1"
PATIENCE = 60

KAFKA_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [made.getsockname()[1] for made in sockets]
    for made in sockets:
        made.close()
    return ports


def embedded(root, folder, port, settings):
    target = Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
    program = target / "debug" / "adapter"
    if not program.exists():
        raise SystemExit(f"{program} is missing: run cargo build --bins first")
    given = {
        "kafka.bootstrap_servers": "[]",
        "embedded.listen": f"127.0.0.1:{port}",
        "embedded.data_dir": folder / "data",
        "adapter.listen": "127.0.0.1:0",
        "log.file": "",
    } | settings
    return [program] + [word for key, value in given.items() for word in ("--set", f"{key}={value}")]


def kafka(root, folder, port, settings):
    jars = f"{root}/.kafka/{KAFKA}/*"
    (controller,) = free_ports(1)
    text = KAFKA_SETTINGS.format(port=port, controller=controller, folder=folder)
    path = folder / "server.properties"
    path.write_text(text + "".join(f"{key}={value}\n" for key, value in settings.items()))
    tool = ["java", "-cp", jars, "kafka.tools.StorageTool"]
    format_storage = [*tool, "format", "-t", "p2pSuitesAAAAAAAAAAAAA", "-c", path]
    subprocess.run(format_storage, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return ["java", "-Xmx1g", "-cp", jars, "kafka.Kafka", path]


def wait_until_it_listens(process, port, log):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise SystemExit(f"the broker does not listen:\n{log.read_text()[-2000:]}")


@contextlib.contextmanager
def start(kind, root, folder, settings):
    """Serves for the length of a `with`, and gives the broker's address. `settings`: those of each kind."""
    (port,) = free_ports(1)
    make = {"embedded": embedded, "kafka": kafka}[kind]
    command = [str(word) for word in make(root, folder, port, settings.get(kind, {}))]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        wait_until_it_listens(process, port, log)
        yield f"127.0.0.1:{port}"
        if process.poll() is not None:
            raise SystemExit(f"the broker ended by itself:\n{log.read_text()[-2000:]}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
