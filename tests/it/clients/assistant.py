"""What tests/kafka/Assistant.java is, on librdkafka, for `./test.sh quick`: the same commands and answers, for tests on the
embedded broker where no Java is to be started. Transactions and tools it has none."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NoAnswer

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)
from kafka.admin import KafkaAdminClient

PATIENCE = 20


def binary(word):
    return None if word == "-" else bytes.fromhex(word)


def hexadecimal(value):
    return "-" if value is None else value.hex()


class Assistant:
    """The clients of one cluster."""

    def __init__(self, bootstrap):
        self.common = {"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 500}
        self.admin = AdminClient(self.common)
        self.lock = threading.Lock()
        self.offsets = None

    def wait(self, futures):
        """The results of one call for several things."""
        return [future.result(PATIENCE) for future in futures.values()]

    def asked(self, question, about):
        """The one result of a question; asked again, on other connections, where a broker that died had it."""
        for _ in range(3):
            try:
                [future] = getattr(self.admin, question)([about], request_timeout=PATIENCE / 4).values()
                return future.result(PATIENCE / 4 + 1)
            except (NoAnswer, KafkaException):
                self.admin = AdminClient(self.common)
        [future] = getattr(self.admin, question)([about], request_timeout=PATIENCE).values()
        return future.result(PATIENCE + 1)

    def partitions(self, topic):
        found = self.admin.list_topics(timeout=PATIENCE).topics.get(topic)
        if found is None or found.error is not None:
            raise RuntimeError(f"there is no topic {topic}")
        return found.partitions

    def reader(self, more=()):
        return Consumer({**self.common, "group.id": "assistant", "enable.auto.commit": False, **dict(more)})

    def create(self, topic, partitions, replicas, *settings):
        config = dict(setting.split("=", 1) for setting in settings)
        self.wait(self.admin.create_topics([NewTopic(topic, int(partitions), int(replicas), config=config)]))

    def grow(self, topic, partitions):
        self.wait(self.admin.create_partitions([NewPartitions(topic, int(partitions))]))

    def configure(self, topic, *settings):
        change = [
            ConfigEntry(*setting.split("=", 1), incremental_operation=AlterConfigOpType.SET) for setting in settings
        ]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=change)
        self.wait(self.admin.incremental_alter_configs([resource]))

    def topics(self):
        return [[name] for name in self.admin.list_topics(timeout=PATIENCE).topics]

    def leader(self, topic, partition):
        return [[self.partitions(topic)[int(partition)].leader]]

    def ends(self, topic):
        partitions, consumer = self.partitions(topic), self.reader()
        try:
            return [
                [number, *consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=PATIENCE)]
                for number in sorted(partitions)
            ]
        finally:
            consumer.close()

    def committed(self, group):
        result = self.asked("list_consumer_group_offsets", ConsumerGroupTopicPartitions(group))
        return [[each.topic, each.partition, each.offset] for each in result.topic_partitions if each.offset >= 0]

    def notes(self, group):
        """`committed` with the metadata, by kafka-python: librdkafka's has some bytes too many behind it."""
        with self.lock:
            if self.offsets is None:
                self.offsets = KafkaAdminClient(bootstrap_servers=self.common["bootstrap.servers"])
            [found] = self.offsets.list_group_offsets({group: None}).values()
        return [
            [place.topic, place.partition, commit.offset, commit.metadata or ""]
            for place, commit in found.items()
            if commit.offset >= 0
        ]

    def members(self, group):
        described = self.asked("describe_consumer_groups", group)
        lines = [[described.state.name.title()]]
        for member in described.members:
            owned = sorted(f"{each.topic}:{each.partition}" for each in member.assignment.topic_partitions)
            lines.append([member.client_id, member.member_id, ",".join(owned)])
        return lines

    def send(self, records, more=()):
        """Sends records and waits for what became of each: partition and offset."""
        settings = {"partitioner": "murmur2_random", "message.max.bytes": 33_554_432, "linger.ms": 5}
        producer = Producer({**self.common, **settings, "delivery.timeout.ms": PATIENCE * 1000, **dict(more)})
        sent = []
        for record in records:
            producer.produce(**record, on_delivery=lambda error, message: sent.append((error, message)))
            producer.poll(0)
        producer.flush(PATIENCE)
        errors = [error for error, _ in sent if error is not None]
        if errors or len(sent) < len(records):
            raise RuntimeError(f"{len(sent)} of {len(records)} were sent: {errors[:1]}")
        return [[message.partition(), message.offset()] for _, message in sent]

    def produce(self, topic, codec, partition, template, count):
        partition, partitions = int(partition), len(self.partitions(topic))
        records = [
            {
                "topic": topic,
                "value": template.replace("%d", str(number)).encode(),
                "partition": number % partitions if partition < 0 else partition,
            }
            for number in range(int(count))
        ]
        self.send(records, {"compression.type": codec, "linger.ms": 50})

    def put(self, topic, partition, key, value, *headers):
        pairs = [(headers[at], binary(headers[at + 1])) for at in range(0, len(headers), 2)]
        record = {"topic": topic, "key": binary(key), "value": binary(value), "headers": pairs}
        return self.send([{**record, "partition": int(partition)}])

    def trim(self, topic, partition, before):
        self.wait(self.admin.delete_records([TopicPartition(topic, int(partition), int(before))]))

    def delete(self, topic):
        self.wait(self.admin.delete_topics([topic]))

    def read(self, topic, isolation):
        left = set(self.partitions(topic))
        consumer = self.reader({"isolation.level": isolation, "enable.partition.eof": True})
        lines, deadline = [], time.monotonic() + PATIENCE
        try:
            consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in left])
            while left:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"not at the end of {topic}")
                for message in consumer.consume(1000, 0.05):
                    if message.error() is None:
                        lines.append(line_of(message))
                    elif message.error().code() == KafkaError._PARTITION_EOF:
                        left.discard(message.partition())
        finally:
            consumer.close()
        return lines


def line_of(message):
    place = [message.partition(), message.offset(), hexadecimal(message.key()), hexadecimal(message.value())]
    headers = [word for name, value in message.headers() or [] for word in (name, hexadecimal(value))]
    return [*place, message.timestamp()[1], *headers]


def main():
    assistants, lock = {}, threading.Lock()

    def answer(number, bootstrap, command, words):
        try:
            with lock:
                if command == "forget":
                    assistants.pop(bootstrap, None)
                elif bootstrap not in assistants:
                    assistants[bootstrap] = Assistant(bootstrap)
            lines = [] if command == "forget" else getattr(assistants[bootstrap], command)(*words) or []
            text = "".join("\t" + "\t".join(map(str, line)) + "\n" for line in lines) + f"ok {number}\n"
        except Exception as error:
            text = f"error {number} {error!r}\n".replace("\n", " ").strip() + "\n"
        with lock:
            sys.stdout.write(text)
            sys.stdout.flush()

    with ThreadPoolExecutor(32) as threads:
        for line in sys.stdin:
            number, bootstrap, command, *words = line.rstrip("\n").split("\t")
            threads.submit(answer, number, bootstrap, command, words)


if __name__ == "__main__":
    main()
