"""Messages that our consumer pushes to a server which works 50 ms on each, is away for a while, and comes back."""

import json
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from measure import Ours, Process  # noqa: E402

WORK_MS = 50
CONCURRENCY = 256
# The rate is that of so many seconds, after so many for the window to open and the connections to be made.
WARM, MEASURED = 4, 8
# Seconds that the server is away; what is under way is looked at in those after the first five.
SETTLES, AWAY = 5, 10
# The return is looked for in steps of so many seconds, and given up after so many.
STEP, LONGEST = 0.5, 60
# Nothing may be pushed for want of messages.
MESSAGES = CONCURRENCY * 1000 // WORK_MS * (WARM + MEASURED + 25)


class Target:
    """The server, which the load program is."""

    def __init__(self, process):
        self.child = process.child
        self.port = int(self.child.stdout.readline())

    def answer(self, status):
        self._say(str(status))

    def tell(self):
        self._say("tell")
        return json.loads(self.child.stdout.readline())

    def rate(self, seconds):
        before, begun = self.tell()["taken"], time.monotonic()
        time.sleep(seconds)
        return (self.tell()["taken"] - before) / (time.monotonic() - begun)

    def _say(self, line):
        self.child.stdin.write(f"{line}\n".encode())
        self.child.stdin.flush()


def run(endpoint, load, folder):
    """Pushes once; gives the figures."""
    with endpoint.started() as (_, address, topic):
        subprocess.run([load, "fill", "ours", address, topic, str(MESSAGES)], check=True)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with Process([load, "target", WORK_MS], **pipes) as serving:
        target = Target(serving)
        settings = (f"consumer.push_url=http://127.0.0.1:{target.port}/", f"consumer.concurrency={CONCURRENCY}")
        command = [*Ours(endpoint.programs).consumer(endpoint.broker, topic, topic),
                   *(word for setting in settings for word in ("--set", setting))]
        with open(folder / "consumer.log", "wb") as log:
            with Process(command, cwd=folder, stdout=log, stderr=log) as consumer:
                return measured(target, consumer)


def measured(target, consumer):
    begun = time.monotonic()
    while target.tell()["taken"] == 0:
        if time.monotonic() > begun + LONGEST:
            sys.exit("compare: nothing is pushed")
        time.sleep(0.05)
    time.sleep(WARM)
    cpu = consumer.cpu_seconds()
    rate = target.rate(MEASURED)
    figures = {"rate": rate, "cpu_seconds": consumer.cpu_seconds() - cpu, "peak_mib": consumer.peak_mib()}
    target.answer(503)
    time.sleep(SETTLES)
    target.tell()
    time.sleep(AWAY - SETTLES)
    figures["in_flight_after_5_s"] = target.tell()["most_in_flight"]
    target.answer(200)
    back = time.monotonic()
    while target.rate(STEP) < 0.9 * rate:
        if time.monotonic() > back + LONGEST:
            return figures | {"seconds_to_90_percent": float("inf"), "wrong": ["the rate did not come back"]}
    figures["seconds_to_90_percent"] = time.monotonic() - back
    return figures | {"peak_mib": consumer.peak_mib(), "wrong": []}
