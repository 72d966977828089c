"""Writes the results into docs/conformance.md, between two markers; a run replaces those of its suite."""

import re
import textwrap

import brokers

BEGIN = "<!-- others' test suites: begin -->"
END = "<!-- others' test suites: end -->"
HEADING = f"""\
## Others' test suites

`./test.sh long` runs them on the embedded broker ([tests/suites](../tests/suites/README.md)), and fails where a test
does not pass without a written reason, or passes although it has one.

| suite | tests | passed | with a reason | passed on Kafka {brokers.KAFKA} |
|---|---|---|---|---|
"""
UNKNOWN = "–"


class Row:
    """The row of a suite in the table, and the reasons below it."""

    def __init__(self, title, path, order, name):
        self.title, self.path, self.order, self.name = title, path, order, name

    def write_embedded(self, results, listed):
        excluded = [result for result in results if not result.passed and result.name in listed]
        figures = [str(len(results)), str(count(results)), str(len(excluded))]
        self.replace(lambda cells: [self.title, *figures, cells[4]], grouped(self.title, excluded, listed))

    def write_kafka(self, results):
        self.replace(lambda cells: [self.title, *cells[1:4], f"{count(results)} of {len(results)}"], None)

    def replace(self, change, reasons):
        """Changes the row; `reasons` replace those that are there unless they are None."""
        before, section, after = split(self.path)
        rows, below = parse(section)
        rows[self.name] = change(rows.get(self.name, [UNKNOWN] * 5))
        if reasons is not None:
            below[self.name] = reasons
        known = [suite for suite in self.order if suite in rows]
        section = HEADING + "".join(f"| {' | '.join(rows[suite])} | <!-- {suite} -->\n" for suite in known)
        section += "".join(f"\n<!-- {suite}: reasons -->\n{below[suite]}" for suite in known if below.get(suite))
        self.path.write_text(f"{before}{BEGIN}\n{section}{END}{after}")


def count(results):
    return sum(result.passed for result in results)


def split(path):
    """The text before the section, the section, and the text behind it."""
    text = path.read_text() if path.exists() else "# Conformance\n"
    before, begin, rest = text.partition(BEGIN)
    if not begin:
        return f"{text.rstrip()}\n\n", "", "\n"
    section, _, after = rest.partition(END)
    return before, section, after


def parse(section):
    """The rows and the reasons that are there, by suite."""
    rows, reasons = {}, {}
    for row, name in re.findall(r"^\| (.*) \| <!-- (\w+) -->$", section, re.MULTILINE):
        rows[name] = row.split(" | ")
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
    lines = [wrapped(f"- {reason}: {', '.join(f'`{name}`' for name in names)}") for reason, names in ordered]
    return f"{title}, what does not pass:\n\n" + "".join(f"{line}\n" for line in lines)


def wrapped(entry):
    """An entry of a list in lines of the documents' width, each name in one piece."""
    whole = re.sub("`[^`]*`", lambda name: name.group().replace(" ", "\0"), entry)
    lines = textwrap.fill(whole, 110, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return lines.replace("\0", " ")
