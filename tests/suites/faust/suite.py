"""A word count with faust. Of its own tests two alone ask a broker for anything: they go to its clients directly."""

from pathlib import Path

import python
import reported

TITLE = "faust-streaming 0.15.3, word count"
BROKER = {}
DEADLINE = 240
NAMES = [
    "a worker starts",
    "an agent answers",
    "a table counts what is grouped anew",
    "a restarted worker restores its table",
    "a changelog is compacted",
]


def prepare(setup):
    here = Path(__file__)
    setup.copy(here.with_name("app.py"), "program/app.py")
    program = setup.copy(here.with_name("program.py"), "program/program.py")
    return python.environment(setup, here.with_name("requirements.txt")), program


def run(suite, prepared):
    ended = suite.run([*prepared, suite.bootstrap, suite.setup.fresh("work")], DEADLINE)
    suite.log("output.txt", ended.output)
    return reported.parse(NAMES, ended)
