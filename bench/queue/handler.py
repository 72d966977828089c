"""A handler without work: KIND HISTORY. KIND is `lines` (kept, a line of JSON for each message or, in batches, an
array), or `process` (started for each message). The history gets 32 bytes a message, as history.py says."""

import json
import os
import struct
import sys
import time


def record(history, partition, key, offset, start):
    number = int(key.removeprefix("key-"))
    os.write(history, struct.pack("<IIQQQ", int(partition), number, int(offset), start, time.monotonic_ns()))


def handle_lines(history):
    for line in sys.stdin.buffer:
        messages = json.loads(line)
        for message in messages if isinstance(messages, list) else [messages]:
            start = time.monotonic_ns()
            record(history, message["partition"], message["key"], message["offset"], start)
            sys.stdout.write('{"id":"%s","ok":true}\n' % message["id"])
        sys.stdout.flush()


def handle_one(history):
    start = time.monotonic_ns()
    json.load(sys.stdin.buffer)
    names = ("POINT_TO_POINT_PARTITION", "POINT_TO_POINT_KEY", "POINT_TO_POINT_OFFSET")
    record(history, *(os.environ[name] for name in names), start)


kind, path = sys.argv[1:]
opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
handle_lines(opened) if kind == "lines" else handle_one(opened)
