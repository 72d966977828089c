"""Drives kafka-python; see driver.py."""

import re

import driver
from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import KafkaError


def typed(value):
    """A setting's value: the client wants numbers and truth values as such."""
    if value in ("true", "false"):
        return value == "true"
    return int(value) if re.fullmatch("[0-9]+", value) else value


def settings(arguments):
    own = {name.replace(".", "_"): typed(value) for name, value in arguments.settings.items()}
    if own.get("compression_type") == "none":
        del own["compression_type"]
    if own.get("partition_assignment_strategy") == "cooperative-sticky":
        own["partition_assignment_strategy"] = [CooperativeStickyAssignor]
    return {"bootstrap_servers": arguments.bootstrap, **own}


def produce(arguments):
    failures = []

    def failed(value, error):
        failures.append(value)
        driver.say(f"failed {value}: {error!r}")

    producer = KafkaProducer(**settings(arguments))
    key = None if arguments.key is None else arguments.key.encode()
    for value in driver.lines():
        sent = producer.send(
            arguments.topic,
            value.encode(),
            key,
            headers=arguments.headers,
            timestamp_ms=arguments.timestamp,
        )
        sent.add_callback(lambda _, value=value: driver.say(f"sent {value}"))
        sent.add_errback(lambda error, value=value: failed(value, error))
    producer.flush()
    producer.close()
    return 1 if failures else 0


class Listener(ConsumerRebalanceListener):
    def on_partitions_assigned(self, assigned):
        driver.tell("assigned", assigned)

    def on_partitions_revoked(self, revoked):
        driver.tell("revoked", revoked)


def consume(arguments):
    # Its look at the topics waits behind its Fetch on one connection, and a poll that is over before both are answered
    # never gets to a rebalance.
    consumer = KafkaConsumer(fetch_max_wait_ms=100, **settings(arguments))
    if arguments.topic.startswith("^"):
        consumer.subscribe(pattern=arguments.topic, listener=Listener())
    else:
        consumer.subscribe([arguments.topic], listener=Listener())
    for _ in driver.until_terminated():
        for records in consumer.poll(timeout_ms=1000).values():
            for record in records:
                driver.print_record(
                    record.partition, record.offset, record.timestamp, record.headers, record.key, record.value
                )
    consumer.close()


def transact(arguments):
    try:
        producer = KafkaProducer(**settings(arguments))
        producer.init_transactions()
        driver.say("began")
    except KafkaError as error:
        driver.say(f"refused: {error!r}")


driver.main({"produce": produce, "consume": consume, "transact": transact})
