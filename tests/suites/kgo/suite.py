"""franz-go's own tests of its client `kgo`: its module carries them."""

import go
from support import Result

VERSION = "v1.22.3"
TITLE = f"franz-go's kgo {VERSION}"
BROKER = {}
MODULE = "github.com/twmb/franz-go"
# Those that hang where the broker has no transactions run alone, with a deadline of their own.
ALONE = ["TestTxnEtl"]
DEADLINE, DEADLINE_ALONE = 600, 120


def prepare(setup):
    return go.prepare(setup, MODULE, VERSION, f"{MODULE}/pkg/kgo", "1.26")


def run(suite, prepared):
    env = {
        "KGO_SEEDS": suite.bootstrap,
        "KGO_TEST_RF": 1,
        # 500,000 by default: the same tests with fewer records of the same kind.
        "KGO_TEST_RECORDS": 50000,
        "KGO_LOG_LEVEL": "none",
    }
    alone = f"^({'|'.join(ALONE)})$"
    results, output = go.run(suite, prepared, ["-test.skip", alone], DEADLINE, env)
    for name in ALONE:
        more, printed = go.run(suite, prepared, ["-test.run", f"^{name}$"], DEADLINE_ALONE, env)
        results += more
        output += printed
    suite.log("output.json", output)
    results = {result.name: result for result in results}
    missing = "was not run"
    return [results.get(name) or Result(name, "failed", missing) for name in go.names(suite, prepared)]
