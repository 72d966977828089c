"""Kafka's jars, and Java with them."""

from support import Unavailable

VERSION = "4.3.1"
WANTED = ["kafka-streams", "rocksdbjni", "connect-file"]
# Most calls are short: what compiles slowly does not pay.
OPTIONS = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xlog:disable"]


def kafka(setup):
    """The class path of the broker's and the tools' jars, which ./test.sh has fetched."""
    folder = setup.root / ".kafka" / VERSION
    if not (folder / ".complete").exists():
        raise Unavailable(f"no Kafka in .kafka/{VERSION}: run ./test.sh first")
    setup.need("java", "install Java 17 or newer")
    return f"{folder}/*"


def more(setup):
    """The class path with Streams and the connectors for files, too."""
    path = kafka(setup)
    setup.need("mvn", "install Maven")
    folder = setup.folder.parent / "java" / VERSION
    stamp = folder / ".complete"
    if not stamp.exists():
        pom = setup.root / "tests" / "suites" / "java" / "pom.xml"
        setup.fetch(
            ["mvn", "-q", "-B", "-Dstyle.color=never", "-f", pom, "dependency:copy-dependencies"]
            + [f"-Dkafka.version={VERSION}", "-DincludeScope=runtime", f"-DincludeArtifactIds={','.join(WANTED)}"]
            + [f"-DoutputDirectory={folder}"]
        )
        stamp.touch()
    return f"{path}:{folder}/*"


def java(classpath, program, words, options=()):
    """A command: `program` is a class, or the file of a source."""
    archive = classpath.split("/*")[0] + "/classes.jsa"
    shared = [f"-XX:SharedArchiveFile={archive}"] if classpath.count("*") == 1 else []
    return ["java", *OPTIONS, *shared, *options, "-cp", classpath, program, *words]
