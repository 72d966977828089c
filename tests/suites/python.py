"""Suites in Python: an environment of their own, and what pytest reports."""

import sys
import tarfile
import xml.etree.ElementTree

from support import Result, Unavailable


def environment(setup, requirements):
    """A virtual environment with what `requirements` names; gives its interpreter."""
    venv, stamp = setup.folder / "venv", setup.folder / "venv.complete"
    interpreter = venv / "bin" / "python"
    wanted = f"{sys.version}\n{requirements.read_text()}"
    if not stamp.exists() or stamp.read_text() != wanted:
        setup.fetch([sys.executable, "-m", "venv", "--clear", venv])
        install = [interpreter, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--prefer-binary"]
        setup.fetch([*install, "-r", requirements])
        stamp.write_text(wanted)
    return interpreter


def source(setup, interpreter, package, version):
    """The unpacked source distribution of a package."""
    name = f"{package.replace('-', '_')}-{version}"
    folder = setup.folder / name
    if not folder.exists():
        download = [interpreter, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        setup.fetch([*download, "--no-binary", ":all:", "-d", setup.folder, f"{package}=={version}"])
        with tarfile.open(setup.folder / f"{name}.tar.gz") as archive:
            archive.extractall(setup.folder, filter="data")
        if not folder.exists():
            raise Unavailable(f"{package} {version} unpacks into another folder than {name}")
    return folder


def pytest(suite, interpreter, folder, arguments, deadline, env):
    """Runs pytest and gives the result of each test, `file::test[parameters]`; those that did not come to run, too."""
    collect = [interpreter, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments]
    listed = suite.run(collect, 120, cwd=folder, env=env).output
    names = [shorten(line) for line in listed.splitlines() if "::" in line and " " not in line.split("[")[0]]
    report = suite.folder / "report.xml"
    report.unlink(missing_ok=True)
    command = [interpreter, "-m", "pytest", "-v", "-p", "no:cacheprovider", f"--junit-xml={report}", *arguments]
    ended = suite.run(command, deadline, cwd=folder, env=env)
    suite.log("output.txt", listed + ended.output)
    results = read_report(report) if report.exists() else read_progress(ended.output)
    seen = {result.name for result in results}
    return results + [Result(name, "ran too long", "did not run to its end") for name in names if name not in seen]


def shorten(name):
    """The name without the folders of its file."""
    path, bracket, parameters = name.partition("[")
    return path.rsplit("/", 1)[-1] + bracket + parameters


def read_report(report):
    results = []
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        module = case.get("classname").split(".")
        place = [part for part in module if part.startswith("test_") or part.startswith("Test")]
        name = f"{place[0]}.py::" + "::".join([*place[1:], case.get("name")])
        outcome, message = "passed", ""
        for child in case:
            if child.tag in ("failure", "error", "skipped"):
                outcome = "skipped" if child.tag == "skipped" else "failed"
                message = child.get("message") or child.text or ""
        results.append(Result(name, outcome, message))
    return results


def read_progress(output):
    """What `-v` printed before the deadline."""
    outcomes = {"PASSED": "passed", "FAILED": "failed", "ERROR": "failed", "SKIPPED": "skipped", "XFAIL": "failed"}
    results = []
    for line in output.splitlines():
        words = line.split()
        if len(words) > 1 and "::" in words[0] and words[1] in outcomes:
            results.append(Result(shorten(words[0]), outcomes[words[1]]))
    return results
