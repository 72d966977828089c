"""What the drivers of both Python clients share: arguments, lines in and lines out.

    drive_CLIENT.py produce BOOTSTRAP TOPIC [key=KEY] [header=NAME[=VALUE]]... [timestamp=MS] [SETTING=VALUE]...
        Each line of standard input is one message. Prints `sent VALUE` once it is acknowledged, or `failed VALUE: WHY`.
    drive_CLIENT.py consume BOOTSTRAP TOPIC|^PATTERN [SETTING=VALUE]...
        Prints each message as `partition offset timestamp headers key value`, separated by tabs, null as NULL. Says on
        standard error what it was assigned and what was revoked. SIGTERM makes it leave.
    drive_CLIENT.py transact BOOTSTRAP TOPIC [SETTING=VALUE]...
        Tries to start a transaction; prints `began`, or `refused: WHY`.

Settings have Java's names (auto.offset.reset).
"""

import signal
import sys


class Arguments:
    """The command line."""

    def __init__(self, words):
        self.command, self.bootstrap, self.topic = words[:3]
        self.key = None
        self.timestamp = None
        self.headers = []
        self.settings = {}
        for word in words[3:]:
            name, _, value = word.partition("=")
            if name == "key":
                self.key = value
            elif name == "timestamp":
                self.timestamp = int(value)
            elif name == "header":
                header, present, content = value.partition("=")
                self.headers.append((header, content.encode() if present else None))
            else:
                self.settings[name] = value


def say(line):
    """One line on standard output, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def tell(what, partitions):
    """An event of the group on standard error: `assigned topic:0,topic:1`."""
    names = sorted(f"{topic}:{partition}" for topic, partition in partitions)
    sys.stderr.write(f"{what} {','.join(names)}\n")
    sys.stderr.flush()


def text(value):
    """Bytes as they are printed."""
    return "NULL" if value is None else value.decode()


def print_record(partition, offset, timestamp, headers, key, value):
    """One message in the form that the tests read."""
    pairs = ",".join(f"{name}={text(content)}" for name, content in headers or [])
    say("\t".join([str(partition), str(offset), str(timestamp), pairs, text(key), text(value)]))


def lines():
    """The values to be sent."""
    for line in sys.stdin:
        yield line.rstrip("\n")


def until_terminated():
    """Yields until SIGTERM comes."""
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    while not ended:
        yield


def main(commands):
    """Runs one of the commands; what it gives is the exit code."""
    arguments = Arguments(sys.argv[1:])
    sys.exit(commands[arguments.command](arguments) or 0)
