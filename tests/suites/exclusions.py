"""The lists of tests that are expected not to pass, each with its reason.

A line is `NAME | REASON`. A NAME that begins with `~` may pass or fail. What --record adds has a reason that begins
with `?`, and is refused until somebody has written a true one.
"""


def read(path):
    """The entries, as a dictionary of names with `(reason, may_pass)`."""
    listed = {}
    if not path.exists():
        return listed
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, bar, reason = line.partition(" | ")
        if not bar or not reason.strip():
            raise SystemExit(f"{path}:{number}: no reason")
        may_pass = name.startswith("~")
        name = name.removeprefix("~").strip()
        if name in listed:
            raise SystemExit(f"{path}:{number}: {name} stands there twice")
        listed[name] = (reason.strip(), may_pass)
    return listed


def compare(listed, results):
    """What is not as the list says, a sentence each."""
    complaints = []
    names = {result.name for result in results}
    for result in results:
        reason, may_pass = listed.get(result.name, (None, False))
        if not result.passed and reason is None:
            complaints.append(f"{result.outcome}, and not excluded: {result.name}: {result.brief()}")
        elif result.passed and reason is not None and not may_pass:
            complaints.append(f"passes, and is excluded: {result.name}: {reason}")
    for name, (reason, _) in listed.items():
        if name not in names:
            complaints.append(f"excluded, and there is no such test: {name}")
        elif reason.startswith("?"):
            complaints.append(f"excluded without a reason: {name}: {reason}")
    return complaints


def record(path, listed, results):
    """Writes the list anew: known reasons are kept, what passes goes, what is new waits for its reason."""
    heading = []
    if path.exists():
        heading = [line for line in path.read_text().splitlines() if line.startswith("#")]
    lines, recorded = [], {}
    for result in sorted(results, key=lambda result: result.name):
        new = f"? {result.outcome}: {result.brief()}"
        reason, may_pass = listed.get(result.name, (new, False))
        reason = new if reason.startswith("?") else reason
        if result.passed and not may_pass:
            continue
        recorded[result.name] = (reason, may_pass)
        lines.append(f"{'~' if may_pass else ''}{result.name} | {reason}")
    path.write_text("".join(f"{line}\n" for line in heading + lines))
    return recorded
