"""Writes the results into docs/conformance.md, between two markers; each run replaces the suites that it ran."""

import re

BEGIN = "<!-- others' test suites: begin -->"
END = "<!-- others' test suites: end -->"
HEADING = """\
## Others' test suites

`./test.sh long` runs them on the embedded broker (`tests/suites`), and fails where a test does not pass without a
written reason, or passes although it has one.

| suite | tests | passed | with a reason |
|---|---|---|---|
"""


def write(path, order, name, title, results, listed):
    text = path.read_text() if path.exists() else f"# Conformance\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    section, _, after = rest.partition(END)
    if not rest:
        before, after = f"{text.rstrip()}\n\n", "\n"
    rows, reasons = parse(section)
    passed = sum(result.passed for result in results)
    excluded = [result for result in results if not result.passed and result.name in listed]
    rows[name] = f"| {title} | {len(results)} | {passed} | {len(excluded)} |"
    reasons[name] = grouped(title, excluded, listed)
    known = [suite for suite in order if suite in rows]
    section = HEADING + "".join(f"{rows[suite]} <!-- {suite} -->\n" for suite in known)
    section += "".join(f"\n<!-- {suite}: reasons -->\n{reasons[suite]}" for suite in known if reasons.get(suite))
    path.write_text(f"{before}{BEGIN}\n{section}{END}{after}")


def parse(section):
    """The rows and the reasons that are there, by suite."""
    rows, reasons = {}, {}
    for row, name in re.findall(r"^(\| .*\|) <!-- (\w+) -->$", section, re.MULTILINE):
        rows[name] = row
    for name, text in re.findall(r"<!-- (\w+): reasons -->\n(.*?)(?=\n<!-- |\Z)", section, re.DOTALL):
        reasons[name] = text if text.endswith("\n") else f"{text}\n"
    return rows, reasons


def grouped(title, excluded, listed):
    """The reasons, most frequent first, each with its tests."""
    by_reason = {}
    for result in excluded:
        by_reason.setdefault(listed[result.name][0], []).append(result.name)
    if not by_reason:
        return ""
    ordered = sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
    lines = [f"- {reason}: {', '.join(f'`{name}`' for name in names)}" for reason, names in ordered]
    return f"{title}, what does not pass:\n\n" + "".join(f"{line}\n" for line in lines)
