#!/usr/bin/env python3
"""Receives messages over HTTP, handles each, and says what became of it. The address is its argument."""
import json, sys, urllib.request

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:5000"


def post(path, body):
    with urllib.request.urlopen(URL + path, json.dumps(body).encode()) as answer:
        return json.load(answer)


def handle(order):
    print("order", order["id"], flush=True)


while True:
    for message in post("/recibir?max=10&wait_ms=20000&lease_ms=30000", {})["messages"]:
        path, body = "/confirmar", {"receipts": message["receipt"]}
        try:
            handle(message["value"])
        except Exception as error:
            path, body["error"] = "/devolver", repr(error)
        post(path, body)
