#!/usr/bin/env python3
"""Receives messages over HTTP, handles each, and says what became of it. The address is its argument."""
import json, sys, time, urllib.error, urllib.request
URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:5000"

def send(path, body):
    try:
        return urllib.request.urlopen(URL + path, json.dumps(body).encode())
    except urllib.error.HTTPError as answer:
        return answer

def post(path, body):
    while (answer := send(path, body)).status == 503:
        time.sleep(1)
    return json.load(answer)

while True:
    for message in post("/recibir?max=10&wait_ms=20000&lease_ms=30000", {})["messages"]:
        path, body = "/confirmar", {"receipts": message["receipt"]}
        try:
            print("order", message["value"]["id"], flush=True)  # here it is handled
        except Exception as error:
            path, body["error"] = "/devolver", repr(error)
        post(path, body)
