"""A program with sarama that is fixed at V2_8_0_0, as many are: it asks for versions without asking which there are.

sarama's own functional tests need five brokers behind a proxy that they steer, so they cannot run here."""

from pathlib import Path

import reported

VERSION = "v1.61.1"
TITLE = f"sarama {VERSION} at V2_8_0_0"
BROKER = {}
GO = "1.25"
DEADLINE = 180
NAMES = [
    "creates topics",
    "creates a topic with configs",
    "produces with each codec",
    "produces idempotently",
    "consumes partitions",
    "consumes in a group",
    "balances two members",
    "keeps a static member's place",
    "lists and describes topics",
    "adds partitions",
    "describes the cluster",
    "describes configs",
    "alters configs",
    "alters configs incrementally",
    "finds offsets by time",
    "lists and describes groups",
    "lists a group's offsets",
    "deletes a group's offsets",
    "deletes records",
    "describes log dirs",
    "lists partition reassignments",
    "elects leaders",
    "describes client quotas",
    "describes users",
    "deletes groups",
    "deletes topics",
    "produces in transactions",
]


def prepare(setup):
    setup.need("go", f"install Go {GO} or newer")
    source = Path(__file__).with_name("main.go")
    program = setup.folder / "program"
    wanted = f"{VERSION}\n{source.read_text()}"
    stamp = setup.folder / "program.complete"
    if program.exists() and stamp.exists() and stamp.read_text() == wanted:
        return program
    env = {"GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    (setup.folder / "go.mod").write_text(f"module suite\n\ngo {GO}\n")
    setup.copy(source, "main.go")
    setup.fetch(["go", "get", f"github.com/IBM/sarama@{VERSION}"], env=env)
    setup.fetch(["go", "build", "-buildvcs=false", "-o", program, "."], env=env)
    stamp.write_text(wanted)
    return program


def run(suite, program):
    ended = suite.run([program, suite.bootstrap], DEADLINE)
    suite.log("output.txt", ended.output)
    return reported.parse(NAMES, ended)
