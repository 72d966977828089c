"""What the comparisons in queue/, leases/ and embedded/ share: options, how figures are shown, their file."""

import argparse
import json
import os
import pathlib
import platform
import statistics
import time

from measure import PARTITIONS


def folder_there(name):
    return pathlib.Path(name).resolve(strict=True)


def options(rows, folders, brokers):
    """The options: the folders that have to be there, and the broker, the first of those named by default."""
    parser = argparse.ArgumentParser()
    for folder in folders:
        parser.add_argument(f"--{folder}", required=True, type=folder_there)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--broker", choices=sorted(brokers), default=brokers[0])
    parser.add_argument("--rows", help=f"some of {','.join(row.name for row in rows)}", default="")
    parser.add_argument("--only", choices=("ours", "theirs"))
    parser.add_argument("--scale", type=float, default=1.0, help="so many times the messages, to try it out")
    parser.add_argument("--output", type=pathlib.Path, help="a file for all figures, as JSON")
    return parser.parse_args()


def chosen(rows, given):
    """The rows that the options name, or all."""
    return [row for row in rows if not given.rows or row.name in given.rows.split(",")]


def spread(values, digits=0):
    """The median, with the least and the greatest."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def save(given, peers, results, **more):
    """Writes all figures, and what they were measured with, to the file that the options name, if they name one."""
    if not given.output:
        return
    about = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "cores": os.cpu_count(),
             "system": platform.platform(), "peers": peers, "partitions": PARTITIONS, "rounds": given.rounds,
             **more}
    given.output.write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")
