"""Kafka's own command-line tools, a virtual machine for each call. A call passes where the tool ends with the status
that is expected and prints what is expected."""

import json
import re

import jars
from support import Result
from tools.calls import CALLS, CLASSES

TITLE = f"Java's tools {jars.VERSION}"
# One partition by default: what is read comes in the order in which it was written.
BROKER = {"embedded": {"kafka.partitions": 1}, "kafka": {"num.partitions": 1}}
DEADLINE = 45


def prepare(setup):
    return jars.kafka(setup)


def run(suite, classpath):
    suite.setup.fresh("files")
    files = suite.folder / "files"
    partition = {"topic": "records", "partition": 0}
    (files / "delete.json").write_text(json.dumps({"partitions": [partition | {"offset": 2}], "version": 1}))
    (files / "topics.json").write_text(json.dumps({"topics": [{"topic": "first"}], "version": 1}))
    move = partition | {"topic": "first", "replicas": [1], "log_dirs": ["any"]}
    (files / "move.json").write_text(json.dumps({"version": 1, "partitions": [move]}))
    results, printed = [], []
    for call in CALLS:
        words = [word.replace("FILES", str(files)) for word in call.words]
        command = jars.java(classpath, CLASSES[call.tool], place(words, suite.bootstrap))
        ended = suite.run(command, DEADLINE, input=call.input)
        results.append(judge(call, ended))
        printed.append(f"== {call.name}: {results[-1].outcome} ({ended.status})\n$ {' '.join(words)}\n{ended.output}\n")
    suite.log("output.txt", "".join(printed))
    return results


def place(words, bootstrap):
    """The words with the broker's address: where SERVER stands, otherwise in front."""
    server = ["--bootstrap-server", bootstrap]
    if "SERVER" not in words:
        return server + words
    at = words.index("SERVER")
    return words[:at] + server + words[at + 1 :]


def judge(call, ended):
    if ended.status is None:
        return Result(call.name, "ran too long", last_error(ended.output))
    found = re.search(call.prints, ended.output, re.MULTILINE | re.DOTALL)
    if ended.status == call.status and found:
        return Result(call.name, "passed")
    return Result(call.name, "failed", f"status {ended.status}: {last_error(ended.output)}")


def last_error(output):
    """The line that tells best what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("at ") and not re.search(r" (INFO|WARN|DEBUG) ", line)]
    telling = [line for line in lines if re.search(r"Exception|not support", line)]
    telling = telling or [line for line in lines if re.search("[Ee]rror", line)]
    return (telling or lines[-1:] or ["nothing was printed"])[0]
