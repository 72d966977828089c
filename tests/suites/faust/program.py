"""Drives the word count beside it; arguments: the broker's address, and an empty folder."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

BOOTSTRAP, FOLDER = sys.argv[1], Path(sys.argv[2])
PATIENCE = 60
failed = None


class Worker:
    """A worker of the application, as its users start it."""

    def __init__(self, name):
        environment = os.environ | {"BOOTSTRAP": BOOTSTRAP, "DATA": str(FOLDER / name)}
        command = [sys.executable, "-m", "faust", "-A", "app", "worker", "-l", "info", "--without-web"]
        self.log = FOLDER / f"{name}.log"
        here = Path(__file__).parent
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, cwd=here, env=environment, stdout=output, stderr=output)

    async def ready(self):
        ready = lambda: "Worker ready" in self.log.read_text(errors="replace")  # noqa: E731
        await until("ready", lambda: ready() or self.process.poll() is not None)
        self.alive()

    def alive(self):
        if self.process.poll() is not None:
            lines = [line for line in self.log.read_text(errors="replace").splitlines() if "Error" in line]
            raise AssertionError(f"the worker ended: {(lines or ['without an error'])[-1]}")

    async def stop(self):
        self.process.terminate()
        try:
            await asyncio.to_thread(self.process.wait, 30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


async def until(what, condition):
    for _ in range(PATIENCE * 10):
        if condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not {what} within {PATIENCE} s")


async def test(name, body):
    """One test; what follows one that failed would only wait."""
    global failed
    if failed is not None:
        print(f"failed {name}: after: {failed}", flush=True)
        return
    try:
        await body()
        print(f"ok {name}", flush=True)
    except Exception as error:  # noqa: BLE001, every failure is a result
        failed = f"{type(error).__name__}: {error}".replace("\n", " ")
        print(f"failed {name}: {failed}", flush=True)


async def send(*lines):
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP)
    await producer.start()
    try:
        for line in lines:
            await producer.send_and_wait("lines", line.encode())
    finally:
        await producer.stop()


async def read(topic, worker, enough):
    """Reads a topic until what has come is enough."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=BOOTSTRAP, auto_offset_reset="earliest")
    await consumer.start()
    found = []
    try:
        for _ in range(PATIENCE * 5):
            worker.alive()
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found.extend((record.key, record.value) for record in records)
            if enough(found):
                return
        raise AssertionError(f"read {found[-20:]} within {PATIENCE} s")
    finally:
        await consumer.stop()


def counted(expected):
    """Whether the last count of each word is as expected."""

    def enough(found):
        last = {(key or b"").decode().strip('"'): json.loads(value) for key, value in found}
        return all(last.get(word) == count for word, count in expected.items())

    return enough


async def create(*topics):
    """The worker takes topics that are there when it starts."""
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 4, 1) for topic in topics])
        while not set(topics) <= set(await admin.list_topics()):
            await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def is_compacted(topic):
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    try:
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        entries = {entry[0]: entry[1] for answer in answers for resource in answer.resources for entry in resource[4]}
        policy = entries.get("cleanup.policy")
        assert policy == "compact", f"cleanup.policy of {topic} is {policy}"
    finally:
        await admin.close()


async def main():
    await asyncio.wait_for(create("lines", "words", "echoes", "counts"), PATIENCE)
    worker = Worker("first")

    async def echoes():
        await send("to be or not to be")
        await read("echoes", worker, lambda found: (None, b"to be or not to be") in found)

    async def restarts():
        nonlocal worker
        await worker.stop()
        worker = Worker("second")
        await worker.ready()
        await send("to be again")
        await read("counts", worker, counted({"to": 3, "be": 3, "again": 1}))

    try:
        await test("a worker starts", worker.ready)
        await test("an agent answers", echoes)
        await test("a table counts what is grouped anew", lambda: read("counts", worker, counted({"to": 2, "be": 2})))
        await test("a restarted worker restores its table", restarts)
        await test("a changelog is compacted", lambda: is_compacted("words-counted-changelog"))
    finally:
        await worker.stop()


asyncio.run(main())
