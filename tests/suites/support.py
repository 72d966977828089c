"""What the suites are built of: folders, commands with a deadline, and results."""

import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path


class Unavailable(Exception):
    """Something that a suite needs is not on this machine and could not be fetched."""


@dataclass
class Result:
    """What became of one test."""

    name: str
    # `passed`, `failed`, `skipped`, or `ran too long`.
    outcome: str
    message: str = ""

    @property
    def passed(self):
        return self.outcome == "passed"

    def brief(self):
        """The message in one short line."""
        text = re.sub(r"\s+", " ", self.message).strip().replace(" | ", " / ")
        return text if len(text) <= 200 else f"{text[:197]}..."


@dataclass
class Ended:
    """How a command ended; `status` is None where the deadline ended it."""

    status: int | None
    output: str


class Setup:
    """Where a suite is prepared: a folder that is kept from one run to the next."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.root = self.folder.parent.parent.parent
        self.commands = 0

    def fresh(self, name):
        """An empty folder inside."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def copy(self, source, name):
        """A copy of one of the suite's files."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        return target

    def has(self, program):
        return shutil.which(program) is not None

    def need(self, program, hint):
        """The path of a program of the machine."""
        found = shutil.which(program)
        if found is None:
            raise Unavailable(f"{program} is missing: {hint}")
        return found

    def run(self, command, deadline, cwd=None, env=None, separate_errors=False, input=None):
        """Runs a command to its end, and ends it with its children where it takes longer than `deadline` seconds."""
        self.commands += 1
        environment = os.environ | {key: str(value) for key, value in (env or {}).items()}
        errors = subprocess.DEVNULL if separate_errors else subprocess.STDOUT
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd or self.folder,
            env=environment,
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(None if input is None else input.encode(), timeout=deadline)
            status = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            status = None
        return Ended(status, output.decode(errors="replace"))

    def fetch(self, command, deadline=600, cwd=None, env=None):
        """A command of the preparation, which must succeed."""
        ended = self.run(command, deadline, cwd, env)
        if ended.status != 0:
            raise Unavailable(f"{' '.join(map(str, command))}: {ended.output.strip()[-2000:]}")
        return ended.output


class Suite:
    """What a suite runs with: its prepared folder and the broker's address."""

    def __init__(self, setup, bootstrap, broker):
        self.setup = setup
        self.folder = setup.folder
        self.run = setup.run
        self.bootstrap = bootstrap
        self.broker = broker

    def log(self, name, text):
        """Keeps a suite's output for whoever looks for causes."""
        path = self.folder / name
        path.write_text(text)
        return path
