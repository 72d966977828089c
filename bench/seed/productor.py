"""The producer as a first tutorial has it: Flask takes a JSON body, kafka-python sends it and flushes.

Arguments: bootstrap server, topic, port.
"""

import json
import logging
import sys

from flask import Flask, jsonify, request
from kafka import KafkaProducer

bootstrap, topic, port = sys.argv[1], sys.argv[2], int(sys.argv[3])

# One log line a request on standard error would be measured too.
logging.getLogger("werkzeug").setLevel(logging.ERROR)

app = Flask(__name__)
producer = KafkaProducer(
    bootstrap_servers=bootstrap,
    acks="all",
    value_serializer=lambda value: json.dumps(value).encode("utf-8"),
)


@app.post("/enviar")
def enviar():
    data = request.get_json()
    producer.send(topic, data)
    producer.flush()
    return jsonify({"mensaje": "Mensaje enviado", "data": data})


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=port)
