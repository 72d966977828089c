"""The figures of the work queue, which run.sh prepares and README.md explains.

Each figure comes with its proof: every message of the topic is in the history of the run, none of them twice, each key
in order, and the committed offsets equal the number of messages.
"""

import contextlib
import dataclasses
import pathlib
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid

from kafka import KafkaConsumer, TopicPartition

import contestants
from history import RECORD, History

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import comparing  # noqa: E402
from comparing import spread  # noqa: E402
from measure import PARTITIONS, TICKS, Embedded, Kafka, Process, wait_for  # noqa: E402

# A run that takes longer is given up.
LONGEST = 240


@dataclasses.dataclass(frozen=True)
class Load:
    """The messages of a topic, as Fill.java makes them."""

    messages: int
    exponent: float = 0.0
    # One message in so many fails; 0: none.
    failing: int = 0
    keys: int = 10_000

    def scaled(self, factor):
        return dataclasses.replace(self, messages=max(1_000, int(self.messages * factor)))


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    load: Load
    # Milliseconds of work with each message.
    work: int
    concurrency: int = 256
    order: str = "key"
    # Makes the contestants, where they are not ours and the Parallel Consumer.
    who: object = lambda places: [contestants.ours(places), contestants.theirs(places)]


def failing_and_not(places):
    return [make(places, fails) for fails in (False, True) for make in (contestants.ours, contestants.theirs)]


ROWS = [
    Row("50ms", Load(40_000), 50),
    Row("10ms", Load(160_000), 10),
    Row("1ms", Load(300_000), 1),
    Row("0ms", Load(400_000), 0),
    Row("1024x50ms", Load(150_000), 50, concurrency=1_024),
    Row("zipf-5ms", Load(40_000, exponent=1.0), 5),
    # For the curve of messages a second against concurrency, with the first and the fifth row.
    Row("16x50ms", Load(3_000), 50, concurrency=16),
    Row("64x50ms", Load(10_000), 50, concurrency=64),
    Row("order-none-50ms", Load(40_000), 50, order="none"),
    Row("failing-50ms", Load(200_000, failing=100), 50, who=failing_and_not),
    Row("lines-c-50ms", Load(40_000), 50, who=contestants.kept_in_c),
    Row("python-0ms", Load(40_000), 0, who=contestants.in_python),
]


class Topics:
    """The topics of one broker, filled when they are first asked for."""

    def __init__(self, broker, places):
        self.broker, self.places, self.filled = broker, places, {}

    def of(self, load):
        """The topic with this load, and how many of its messages have the first key."""
        if load not in self.filled:
            topic = f"queue-{uuid.uuid4().hex[:8]}"
            self.broker.create_topic(topic)
            classes = f"{self.places.built / 'jars'}/*:{self.places.built / 'classes'}"
            words = (self.broker.bootstrap, topic, load.messages, load.keys, load.exponent, load.failing)
            command = ["java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", classes, "Fill"]
            filled = subprocess.run([*command, *map(str, words)], check=True, capture_output=True, text=True)
            if self.broker.stored(topic) != load.messages:
                sys.exit(f"compare: {topic} does not hold {load.messages} messages")
            self.filled[load] = topic, int(filled.stdout)
        return self.filled[load]


class Notes(threading.Thread):
    """What a group has committed, once a second: its longest note (the metadata beside an offset)."""

    def __init__(self, broker, topic, group):
        super().__init__(name="notes")
        self.asks = broker, topic, group
        self.longest, self.stop = 0, threading.Event()

    def run(self):
        while not self.stop.wait(1):
            self.longest = max(self.longest, committed(*self.asks)[1])


def committed(broker, topic, group):
    """The sum of the group's committed offsets, and the length of its longest note."""
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, group_id=group, enable_auto_commit=False)
    said = [consumer.committed(TopicPartition(topic, number), metadata=True) for number in range(PARTITIONS)]
    consumer.close()
    found = [one for one in said if one is not None]
    return sum(one.offset for one in found), max((len(one.metadata or "") for one in found), default=0)


def busy_seconds():
    """Processor seconds that the machine has spent, without those that it idled or waited."""
    user, nice, system, _, _, irq, softirq = map(int, pathlib.Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS


def own_seconds():
    """Processor seconds of this program and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def watched(process, contestant, count, history):
    """Waits for the first handled message and for the last; gives the processor seconds between them."""
    def reached(messages, word):
        if contestant.talks:
            if process.child.stdout.readline().strip() != word:
                raise RuntimeError(f"it ended before its {word.decode()} message")
            return
        while not (history.exists() and history.stat().st_size >= messages * RECORD.size):
            if process.child.poll() is not None:
                raise RuntimeError(f"it ended with status {process.child.returncode}")
            time.sleep(0.005)

    reached(1, b"first")
    begun = process.cpu_seconds()
    reached(count, b"done")
    return process.cpu_seconds() - begun


def run(broker, topics, row, load, contestant, folder):
    """Lets the contestant consume the row's messages once; gives its figures."""
    load = load.scaled(contestant.share)
    topic, _ = topics.of(load)
    group, history = f"group-{uuid.uuid4().hex[:8]}", folder / f"history-{uuid.uuid4().hex[:8]}"
    counted = load.messages
    if load.failing:
        # Fill.java's failing messages, and the one that hangs.
        counted -= len(range(load.failing // 2, load.messages, load.failing)) + 1
    command = contestant.command(row, broker, topic, group, counted, history)
    notes = Notes(broker, topic, group)
    before = time.monotonic(), busy_seconds(), own_seconds(), broker.process.cpu_seconds()
    with open(folder / "contestant.log", "wb") as log:
        with Process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=folder) as process:
            killer = threading.Timer(LONGEST, process.child.kill)
            killer.start()
            if load.failing:
                notes.start()
            try:
                cpu, peak = watched(process, contestant, counted, history), process.peak_mib()
            finally:
                killer.cancel()
                notes.stop.set()
            process.child.stdin.close()
            if contestant.talks:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.child.wait(20)
    used = own_seconds() - before[2]
    elsewhere = busy_seconds() - before[1] - used - (broker.process.cpu_seconds() - before[3])
    figures = {"cpu_seconds": cpu, "cpu_seconds_whole_run": used, "peak_mib": peak,
               "cores_of_others": max(0.0, elsewhere / (time.monotonic() - before[0]))}
    if load.failing:
        notes.join()
        figures["longest_note"] = notes.longest
    figures |= proven(broker, topic, group, row, load, contestant, counted, History(history))
    history.unlink()
    return figures


def proven(broker, topic, group, row, load, contestant, counted, history):
    """The figures in the history, and what it says against them."""
    seconds, wrong = history.seconds(), []
    if history.counted() != counted:
        wrong.append(f"{counted - history.counted()} not handled")
    if history.twice():
        wrong.append(f"{history.twice()} twice")
    if row.order == "key" and history.out_of_order():
        wrong.append(f"{history.out_of_order()} out of order")
    if not contestant.fails:
        with contextlib.suppress(SystemExit):
            wait_for("all is committed", 15, lambda: committed(broker, topic, group)[0] == load.messages)
        said = committed(broker, topic, group)[0]
        if said != load.messages:
            wrong.append(f"{said} of {load.messages} committed")
    figures = {"rate": counted / seconds, "seconds": seconds, "wrong": wrong}
    if contestant.fails:
        figures["handled_after_failing"] = len(history.messages) - history.counted()
    if load.exponent:
        figures["seconds_without_first_key"] = history.seconds(lambda key: key != 0)
    return figures


def limit(row, load, first_key):
    """Messages a second that no consumer can pass, as all workers sleep or the first key is always worked on."""
    if row.work == 0:
        return None
    limits = [row.concurrency * 1000 / row.work]
    if load.exponent:
        limits.append(load.messages * 1000 / (first_key * row.work))
    return min(limits)


def ratios(of, to):
    """The rates of one result as shares of another's, round for round."""
    return spread([one["rate"] / other["rate"] for one, other in zip(of["runs"], to["runs"])], 2)


# What only some rows have, and how the table says it.
NOTED = (
    ("longest_note", "longest note {}", 0),
    ("handled_after_failing", "{} handled after failing", 0),
    ("seconds_without_first_key", "other keys done after {} s", 1),
)


def show(result, results):
    """One line of the table."""
    runs, medians = result["runs"], result["medians"]
    most = f"{medians['rate'] / result['limit']:.1%}" if result["limit"] else ""
    first, ratio = results[0], ""
    if first is not result and first["contestant"].startswith("ours"):
        ratio = ratios(first, result)
    notes = ["; ".join(text for one in runs for text in one["wrong"]) or "all once"]
    for name, label, digits in NOTED:
        if name in medians:
            notes.append(label.format(f"{max(one[name] for one in runs):.{digits}f}"))
    for other in results:
        if result["contestant"] == f"{other['contestant']}, failing":
            notes.append(f"{ratios(result, other)} of its rate without")
    print(f"{result['row']:16} {result['contestant']:32} {spread([one['rate'] for one in runs]):>26} {most:>7} "
          f"{ratio:>18} {medians['cpu_seconds']:7.2f} {medians['cpu_seconds_whole_run']:7.2f} "
          f"{medians['peak_mib']:5.0f} {medians['cores_of_others']:6.1f}   {'; '.join(notes)}", flush=True)


def compare(broker, places, row, load, topics, folder, rounds):
    """All rounds of one row, contestants in turn; gives a result for each of them."""
    _, first_key = topics.of(load)
    who = row.who(places)
    results = [
        {"broker": broker.name, "row": row.name, "contestant": one.name, "messages": load.scaled(one.share).messages,
         "keys": "failing" if load.failing else "zipf" if load.exponent else "even", "work_ms": row.work,
         "concurrency": row.concurrency, "order": row.order, "limit": limit(row, load, first_key), "runs": []}
        for one in who
    ]
    for _ in range(rounds):
        for contestant, result in zip(who, results):
            try:
                result["runs"].append(run(broker, topics, row, load, contestant, folder))
            except RuntimeError as problem:
                said = (folder / "contestant.log").read_text(errors="replace")[-600:]
                print(f"{row.name:16} {contestant.name:32} {problem}: {said}", flush=True)
    results = [result for result in results if len(result["runs"]) == rounds]
    for result in results:
        numbers = [name for name, value in result["runs"][0].items() if isinstance(value, (int, float))]
        result["medians"] = {name: statistics.median(one[name] for one in result["runs"]) for name in numbers}
    for result in results:
        show(result, results)
    return results


def main():
    places = comparing.options(ROWS, ("programs", "built"), ("both", "embedded", "kafka"))
    # So that the broker ends with this program.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    jars = [path.name for path in sorted((places.built / "jars").glob("*.jar"))]
    peers = [name for name in jars if name.startswith(("parallel-consumer", "kafka-clients"))]
    chosen = comparing.chosen(ROWS, places)
    if places.only:
        chosen = [dataclasses.replace(row, who=only(row.who, places.only)) for row in chosen]
    results = []
    for kind in ("kafka", "embedded"):
        if places.broker not in (kind, "both"):
            continue
        folder = pathlib.Path(tempfile.mkdtemp(prefix="point-to-point-bench-"))
        try:
            with Kafka(folder) if kind == "kafka" else Embedded(folder, places.programs) as broker:
                print(f"on {broker.name}\n{'row':16} {'':32} {'messages/s':>26} {'of most':>7} {'ours : this':>18} "
                      f"{'CPU s':>7} {'whole':>7} {'MiB':>5} {'others':>6}", flush=True)
                topics = Topics(broker, places)
                for row in chosen:
                    load = row.load.scaled(places.scale)
                    results += compare(broker, places, row, load, topics, folder, places.rounds)
                    comparing.save(places, peers, results, scale=places.scale)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def only(who, name):
    """The contestants of one side."""
    return lambda places: [one for one in who(places) if one.name.startswith("ours") == (name == "ours")]


if __name__ == "__main__":
    main()
