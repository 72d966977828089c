"""What the programs of these folders print of their tests: `ok NAME`, or `failed NAME: MESSAGE`, a line each."""

import re

from support import Result


def parse(names, ended):
    """The result of each of `names`; one that is not reported did not run to its end."""
    found = {}
    for line in ended.output.splitlines():
        match = re.match(r"(ok|failed) ([^:]+)(?:: (.*))?$", line)
        if match:
            verdict, name, message = match.groups()
            found[name] = Result(name, "passed" if verdict == "ok" else "failed", message or "")
    why = "ran too long" if ended.status is None else "failed"
    last = ended.output.strip().splitlines()[-1:] or ["nothing was printed"]
    missing = f"was not reached: {last[0].removeprefix('failed ')}"
    unknown = [result for name, result in found.items() if name not in names]
    return [found.get(name) or Result(name, why, missing) for name in names] + unknown
