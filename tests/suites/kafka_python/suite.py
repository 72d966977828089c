"""kafka-python's own integration tests: its source distribution carries them."""

from pathlib import Path

import python

VERSION = "3.0.12"
TITLE = f"kafka-python {VERSION}, integration tests"
# The topics that the tests let the broker create have four partitions.
BROKER = {"embedded": {"kafka.partitions": 4}, "kafka": {"num.partitions": 4}}
DEADLINE = 900
# They start brokers with TLS and passwords of their own.
IGNORED = ["test_sasl_integration.py", "test_ssl_integration.py"]


def prepare(setup):
    interpreter = python.environment(setup, Path(__file__).with_name("requirements.txt"))
    folder = python.source(setup, interpreter, "kafka-python", VERSION)
    # Python has a package of that name itself, which comes first as long as this one is none.
    (folder / "test" / "__init__.py").touch()
    setup.copy(Path(__file__).with_name("service.py"), folder / "test" / "service.py")
    return interpreter, folder


def run(suite, prepared):
    interpreter, folder = prepared
    env = {
        "KAFKA_URI": f"kafka://{suite.bootstrap}",
        "KAFKA_VERSION": "4.3.1",
        # The tests ask whether there is such a folder, although the broker runs already.
        "KAFKA_ROOT": suite.folder,
        "PYTHONPATH": folder,
    }
    arguments = ["test/integration", "--timeout=60", *(f"--ignore=test/integration/{name}" for name in IGNORED)]
    return python.pytest(suite, interpreter, folder, arguments, DEADLINE, env)
