"""Runs suites that others wrote, one after another, and compares what failed with the lists of exclusions.

A run fails on a test that fails, is skipped or is missing without being on the list, on one that is on the list and
passes, and on an entry without a reason: so the lists stay true.
"""

import argparse
import importlib
import sys
import time
from pathlib import Path

import brokers
import conformance
import exclusions
from support import Setup, Suite, Unavailable

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
# In the order in which they run.
SUITES = ["kgo", "tools", "streams", "connect", "kafka_python", "kafkajs", "sarama", "platformatic", "faust"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all of them by default")
    parser.add_argument("--broker", choices=["embedded", "kafka"], default="embedded")
    parser.add_argument("--record", action="store_true", help="write what failed into the lists of exclusions")
    chosen = parser.parse_args()
    unknown = set(chosen.suites) - set(SUITES)
    if unknown:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    if chosen.record and chosen.broker == "kafka":
        parser.error("the lists are those of the embedded broker")
    return chosen


def run(name, chosen):
    """One suite on a broker of its own; answers whether all is as the list says."""
    module = importlib.import_module(f"{name}.suite")
    begin = time.monotonic()
    setup = Setup(ROOT / "target" / "suites" / name)
    try:
        prepared = module.prepare(setup)
    except Unavailable as error:
        print(f"{name}: cannot be run here: {error}")
        return False
    with brokers.start(chosen.broker, ROOT, setup.fresh("broker"), module.BROKER) as bootstrap:
        results = module.run(Suite(setup, bootstrap, chosen.broker), prepared)
    if not results:
        print(f"{name}: ran no test: see {setup.folder}")
        return False
    seconds = time.monotonic() - begin
    path = HERE / name / "exclusions.txt"
    listed = exclusions.read(path)
    if chosen.record:
        listed = exclusions.record(path, listed, results)
    passed = sum(result.passed for result in results)
    print(f"{name}: {passed} of {len(results)} passed on {chosen.broker} in {seconds:.0f} s")
    row = conformance.Row(module.TITLE, ROOT / "docs" / "conformance.md", SUITES, name)
    if chosen.broker == "kafka":
        row.write_kafka(results)
        for result in results:
            if not result.passed:
                print(f"  {result.outcome}: {result.name}: {result.brief()}")
        return True
    row.write_embedded(results, listed)
    complaints = exclusions.compare(listed, results)
    for complaint in complaints:
        print(f"  {complaint}")
    return not complaints


def main():
    chosen = arguments()
    sys.stdout.reconfigure(line_buffering=True)
    good = [run(name, chosen) for name in chosen.suites or SUITES]
    print(f"{sum(good)} passed, {len(good) - sum(good)} failed")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
