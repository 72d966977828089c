"""A program with KafkaJS, whose package does not carry its tests: what the client can ask of a broker, once each."""

from pathlib import Path

import npm
import reported

VERSION = "2.2.4"
TITLE = f"KafkaJS {VERSION}"
BROKER = {}
DEADLINE = 240
NAMES = [
    "creates topics",
    "creates a topic with configs",
    "refuses a topic that exists",
    "produces and consumes",
    "produces compressed",
    "produces idempotently",
    "produces with keys, headers and timestamps",
    "consumes in batches",
    "balances two members",
    "seeks",
    "pauses and resumes",
    "commits offsets",
    "lists topics",
    "fetches topics' metadata",
    "adds partitions",
    "describes the cluster",
    "fetches topics' offsets",
    "fetches topics' offsets by time",
    "fetches a group's offsets",
    "sets a group's offsets",
    "resets a group's offsets",
    "lists groups",
    "describes groups",
    "describes configs",
    "alters configs",
    "deletes records",
    "lists partition reassignments",
    "describes ACLs",
    "deletes groups",
    "deletes topics",
    "produces in transactions",
]


def prepare(setup):
    setup.need("node", "install Node.js")
    folder = npm.install(setup, [f"kafkajs@{VERSION}"])
    return setup.copy(Path(__file__).with_name("program.mjs"), folder / "program.mjs")


def run(suite, program):
    ended = suite.run(["node", program, suite.bootstrap], DEADLINE)
    suite.log("output.txt", ended.output)
    return reported.parse(NAMES, ended)
