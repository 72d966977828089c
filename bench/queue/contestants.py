"""The programs that compare.py lets consume, and the commands that start them."""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent


class Closure:
    """A program with a function that sleeps; it says itself when it has handled the first message and the last."""

    talks = True
    # How much of the row's messages it gets.
    share = 1

    def __init__(self, name, program, fails=False):
        self.name, self.program, self.fails = name, program, fails

    def command(self, row, broker, topic, group, count, history):
        words = (broker.bootstrap, topic, group, count, row.concurrency, row.order, row.work,
                 "fails" if self.fails else "-", history)
        return [*self.program, *words]


def ours(places, fails=False):
    return Closure("ours, failing" if fails else "ours", [places.programs / "examples" / "queue_figures"], fails)


def theirs(places, fails=False):
    # Java takes gigabytes by itself; README.md has the figures with other sizes.
    java = ["java", "-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp",
            f"{places.built / 'jars'}/*:{places.built / 'classes'}", "Peer"]
    return Closure("Parallel Consumer, failing" if fails else "Parallel Consumer", java, fails)


class Handlers:
    """The program consumer1 with a handler program, whose history tells how far it is."""

    talks = False
    fails = False

    def __init__(self, name, places, handler, *settings, share=1):
        self.name, self.places, self.handler, self.settings, self.share = name, places, handler, settings, share

    def command(self, row, broker, topic, group, count, history):
        handler = [*(str(word) for word in self.handler(row)), str(history)]
        settings = (f"kafka.bootstrap_servers={broker.bootstrap}", f"kafka.topic={topic}", f"consumer.group={group}",
                    f"consumer.concurrency={row.concurrency}", f"consumer.order={row.order}",
                    f"consumer.handler={handler}", "log.file=", "log.level=warn", *self.settings)
        return [self.places.programs / "consumer1", *(word for setting in settings for word in ("--set", setting))]


def kept_in_c(places):
    program = places.built / "handler"
    handler = Handlers("ours, kept C handlers", places, lambda row: (program, row.work), "consumer.handler_mode=lines")
    return [handler] if program.exists() else []


def in_python(places):
    """One kept Python program, message for message and in batches, and a process for each message."""
    def program(kind):
        return lambda row: (sys.executable, HERE / "handler.py", kind)

    # Four processes at a time, as more of them do no more on two cores.
    each = Handlers("ours, a Python process each", places, program("process"), "consumer.concurrency=4", share=1 / 40)
    one = ("consumer.handler_mode=lines", "consumer.handler_processes=1")
    return [
        Handlers("ours, one kept Python handler", places, program("lines"), *one),
        Handlers("ours, the same in batches of 100", places, program("lines"), *one, "consumer.handler_batch=100"),
        each,
    ]
