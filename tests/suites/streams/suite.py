"""Kafka Streams: a word count, at least once, whose state survives in its changelog."""

from pathlib import Path

import jars
import reported

TITLE = f"Kafka Streams {jars.VERSION}, word count"
BROKER = {}
DEADLINE = 420
NAMES = [
    "counts words",
    "makes its internal topics",
    "shares the work with a second instance",
    "restores its state from the changelog",
    "counts in windows",
    "exactly once",
]


def prepare(setup):
    return jars.more(setup)


def run(suite, classpath):
    program = Path(__file__).with_name("WordCount.java")
    state = suite.setup.fresh("state")
    ended = suite.run(jars.java(classpath, program, [suite.bootstrap, state]), DEADLINE)
    suite.log("output.txt", ended.output)
    return reported.parse(NAMES, ended)
