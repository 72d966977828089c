#!/usr/bin/env python3
"""A kept handler that writes down what it does, and that misbehaves by chance.

`HISTORY SEED MILLISECONDS AWAY [FATE=SHARE]...`: works on each message for up to so many milliseconds. A
fate befalls so many of a thousand attempts: `fail`, `later` and `dead` are answers, `gone` is exit status
75, `die` is the handler's death by a signal, `kill` that of its consumer, `hang` is no answer. As long as
there is a file AWAY every message is to come later.

Each begin and each end of an attempt is a line that is appended to HISTORY in one write: `+` or `-`, the
process of the consumer, partition, offset, attempt, the key or `-`, and at an end what it was. The order of
the lines is the order in which all that happened, whoever wrote them.
"""
import json
import os
import random
import signal
import sys
import time

history = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
seed, longest, away = sys.argv[2], float(sys.argv[3]) / 1000, sys.argv[4]
shares = [(fate, int(share)) for fate, share in (word.split("=") for word in sys.argv[5:])]
consumer = os.getppid()
chance = random.Random(f"{seed} {os.getpid()}")
# Longer than a handler may take: after that it ends, whoever has forgotten it.
HANGS = 8


def drawn(place):
    """What befalls an attempt: the same in each run, but `later` and `gone` are by the process's chance."""
    own, fixed = chance.randrange(1000), random.Random(f"{seed} {place}").randrange(1000)
    for fate, share in shares:
        if fate in ("later", "gone"):
            own -= share
        else:
            fixed -= share
        if min(own, fixed) < 0:
            return fate
    return "ok"


for line in sys.stdin:
    record = json.loads(line)
    place = f"{record['partition']} {record['offset']} {record['attempt']} {record['key'] or '-'}"
    os.write(history, f"+ {consumer} {place}\n".encode())
    fate = ("gone" if chance.randrange(10) == 0 else "later") if os.path.exists(away) else drawn(place)
    if longest and fate != "later":
        time.sleep(longest * chance.random())
    os.write(history, f"- {consumer} {place} {fate}\n".encode())
    if fate == "gone":
        sys.exit(75)
    elif fate == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fate == "kill":
        os.kill(consumer, signal.SIGKILL)
        sys.exit(1)
    elif fate == "hang":
        time.sleep(HANGS)
        sys.exit(1)
    answer = {"id": record["id"], "ok": fate == "ok"}
    if fate != "ok":
        answer["error"] = fate
    if fate in ("later", "dead"):
        answer["retry" if fate == "later" else "dead"] = True
    print(json.dumps(answer), flush=True)
