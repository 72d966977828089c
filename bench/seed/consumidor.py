"""The consumer as a first tutorial has it, but committing after each message as ours does.

Arguments: bootstrap server, topic, group.
"""

import json
import sys

from kafka import KafkaConsumer

bootstrap, topic, group = sys.argv[1:4]

consumer = KafkaConsumer(
    topic,
    bootstrap_servers=bootstrap,
    group_id=group,
    auto_offset_reset="earliest",
    enable_auto_commit=False,
    value_deserializer=lambda value: json.loads(value.decode("utf-8")),
)

print("Esperando mensajes...", flush=True)
for message in consumer:
    print(f"Mensaje recibido: {json.dumps(message.value)}", flush=True)
    consumer.commit()
