"""Go's tests: building them from a module, and reading what they print."""

import json
from pathlib import Path

from support import Result, Unavailable

DEADLINE_OF_A_BUILD = 900


def prepare(setup, module, version, package, go):
    """Compiles the tests of a package of a module at a version, which comes from Go's proxy.

    Gives the program and the folder of the package, in which its tests expect to run.
    """
    setup.need("go", f"install Go {go} or newer")
    env = {"GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    built = setup.folder / f"{version}.test"
    folder = setup.folder / f"{version}.folder"
    if built.exists() and folder.exists() and Path(folder.read_text()).is_dir():
        return built, folder.read_text()
    (setup.folder / "go.mod").write_text(f"module suite\n\ngo {go}\n")
    setup.fetch(["go", "get", f"{module}@{version}"], env=env)
    setup.fetch(["go", "get", "-t", package], env=env)
    setup.fetch(["go", "test", "-c", "-o", built, package], DEADLINE_OF_A_BUILD, env=env)
    if not built.exists():
        raise Unavailable(f"{package} has no tests")
    folder.write_text(setup.fetch(["go", "list", "-f", "{{.Dir}}", package], env=env).strip())
    return built, folder.read_text()


def names(suite, prepared):
    """The outermost tests that there are."""
    program, folder = prepared
    printed = suite.run([program, "-test.list", "^Test"], 60, cwd=folder).output
    return [line for line in printed.splitlines() if line.startswith("Test")]


def run(suite, prepared, arguments, deadline, env):
    """Runs a compiled test, and gives the results of its outermost tests."""
    program, folder = prepared
    command = ["go", "tool", "test2json", "-t", program, "-test.v=test2json", f"-test.timeout={deadline}s", *arguments]
    ended = suite.run(command, deadline + 30, cwd=folder, env=env, separate_errors=True)
    return parse(ended.output), ended.output


def parse(output):
    """The results in what `test2json` printed. A test that began and has no end ran too long."""
    outcomes, messages = {}, {}
    for line in output.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        test, action = event.get("Test"), event["Action"]
        if test is None:
            continue
        outermost = test.split("/")[0]
        if action == "output" and ("_test.go:" in event["Output"] or "panic" in event["Output"]):
            messages.setdefault(test, []).append(event["Output"])
        elif test == outermost:
            if action == "run":
                outcomes[test] = "ran too long"
            elif action in ("pass", "fail", "skip"):
                outcomes[test] = {"pass": "passed", "fail": "failed", "skip": "skipped"}[action]
        if action == "fail" and test != outermost:
            messages.setdefault(outermost, []).extend(messages.get(test, [])[:3])
    return [Result(name, outcome, " ".join(messages.get(name, [])[:4])) for name, outcome in outcomes.items()]
