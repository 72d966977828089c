#!/usr/bin/env python3
"""Handles the message in each line of its input, and answers with a line."""
import json
import sys


def handle(order):
    print("order", order["id"], file=sys.stderr)  # standard output is for answers


for line in sys.stdin:
    record = json.loads(line)
    answer = {"id": record["id"], "ok": True}
    try:
        handle(record["value"])
    except Exception as error:
        answer.update(ok=False, error=repr(error))
    print(json.dumps(answer), flush=True)
