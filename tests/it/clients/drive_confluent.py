"""Drives confluent-kafka, that is librdkafka; see driver.py."""

import driver
from confluent_kafka import Consumer, KafkaException, Producer

# Where librdkafka's names differ from Java's.
NAMES = {"metadata.max.age.ms": "topic.metadata.refresh.interval.ms"}


def settings(arguments):
    own = {NAMES.get(name, name): value for name, value in arguments.settings.items()}
    return {"bootstrap.servers": arguments.bootstrap, **own}


def produce(arguments):
    failures = []

    def delivered(error, message):
        value = message.value().decode()
        if error is None:
            driver.say(f"sent {value}")
        else:
            failures.append(value)
            driver.say(f"failed {value}: {error}")

    producer = Producer(settings(arguments))
    more = {} if arguments.timestamp is None else {"timestamp": arguments.timestamp}
    for value in driver.lines():
        producer.produce(
            arguments.topic, value, arguments.key, headers=arguments.headers, on_delivery=delivered, **more
        )
        producer.poll(0)
    left = producer.flush()
    return 1 if failures or left else 0


def consume(arguments):
    def places(partitions):
        return [(place.topic, place.partition) for place in partitions]

    consumer = Consumer(settings(arguments))
    consumer.subscribe(
        [arguments.topic],
        on_assign=lambda _, partitions: driver.tell("assigned", places(partitions)),
        on_revoke=lambda _, partitions: driver.tell("revoked", places(partitions)),
        on_lost=lambda _, partitions: driver.tell("lost", places(partitions)),
    )
    for _ in driver.until_terminated():
        message = consumer.poll(0.1)
        if message is None:
            continue
        if message.error():
            print(f"error: {message.error()}", file=driver.sys.stderr, flush=True)
            continue
        driver.print_record(
            message.partition(),
            message.offset(),
            message.timestamp()[1],
            message.headers(),
            message.key(),
            message.value(),
        )
    consumer.close()


def transact(arguments):
    producer = Producer(settings(arguments))
    try:
        producer.init_transactions(30)
        driver.say("began")
    except KafkaException as error:
        driver.say(f"refused: {error}")


driver.main({"produce": produce, "consume": consume, "transact": transact})
