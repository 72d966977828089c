"""The calls of Kafka's tools, in their order: some need what an earlier one has made."""

from dataclasses import dataclass, field

TOOLS = "org.apache.kafka.tools"
CLASSES = {
    "acls": f"{TOOLS}.AclCommand",
    "broker-api-versions": f"{TOOLS}.BrokerApiVersionsCommand",
    "client-metrics": f"{TOOLS}.ClientMetricsCommand",
    "cluster": f"{TOOLS}.ClusterTool",
    "configs": "kafka.admin.ConfigCommand",
    "console-consumer": f"{TOOLS}.consumer.ConsoleConsumer",
    "console-producer": f"{TOOLS}.ConsoleProducer",
    "console-share-consumer": f"{TOOLS}.consumer.ConsoleShareConsumer",
    "consumer-groups": f"{TOOLS}.consumer.group.ConsumerGroupCommand",
    "consumer-perf-test": f"{TOOLS}.ConsumerPerformance",
    "delegation-tokens": f"{TOOLS}.DelegationTokenCommand",
    "delete-records": f"{TOOLS}.DeleteRecordsCommand",
    "e2e-latency": f"{TOOLS}.EndToEndLatency",
    "features": f"{TOOLS}.FeatureCommand",
    "get-offsets": f"{TOOLS}.GetOffsetShell",
    "groups": f"{TOOLS}.GroupsCommand",
    "leader-election": f"{TOOLS}.LeaderElectionCommand",
    "log-dirs": f"{TOOLS}.LogDirsCommand",
    "metadata-quorum": f"{TOOLS}.MetadataQuorumCommand",
    "producer-perf-test": f"{TOOLS}.ProducerPerformance",
    "reassign-partitions": f"{TOOLS}.reassign.ReassignPartitionsCommand",
    "share-groups": f"{TOOLS}.consumer.group.ShareGroupCommand",
    "streams-application-reset": f"{TOOLS}.StreamsResetter",
    "streams-groups": f"{TOOLS}.streams.StreamsGroupCommand",
    "topics": f"{TOOLS}.TopicCommand",
    "transactions": f"{TOOLS}.TransactionsCommand",
    "verifiable-consumer": f"{TOOLS}.VerifiableConsumer",
    "verifiable-producer": f"{TOOLS}.VerifiableProducer",
}


@dataclass
class Call:
    """One call: what it is given, what it has to print (a regular expression), and how it has to end."""

    tool: str
    what: str
    words: list[str]
    prints: str
    status: int = 0
    input: str | None = field(default=None, repr=False)

    @property
    def name(self):
        return f"{self.tool}: {self.what}"


def call(tool, what, line, prints, status=0, input=None):
    return Call(tool, what, line.split(), prints, status, input)


RECORDS = "".join(f"k{number}:v{number}\n" for number in range(10))
KEYED = "--reader-property parse.key=true --reader-property key.separator=:"

TOPICS = [
    call("topics", "create", "--create --topic first --partitions 3 --replication-factor 1", "Created topic first"),
    call("topics", "create by the broker's defaults", "--create --topic records", "Created topic records"),
    call(
        "topics",
        "create with configs",
        "--create --topic compacted --config cleanup.policy=compact --config retention.ms=-1 --config segment.ms=60000",
        "Created topic compacted",
    ),
    call("topics", "create what exists", "--create --topic first", "TopicExistsException", status=1),
    call("topics", "create if it does not exist", "--create --topic first --if-not-exists", ""),
    call("topics", "list", "--list", "^first$"),
    call("topics", "describe", "--describe --topic first", "PartitionCount: 3.*Partition: 2.*Leader: 1"),
    call("topics", "describe under-replicated ones", "--describe --under-replicated-partitions", r"\A(?!.*Exception)"),
    call("topics", "describe those with overrides", "--describe --topics-with-overrides", r"\A(?!.*Exception)"),
    call("topics", "describe at-min-isr ones", "--describe --at-min-isr-partitions", r"\A(?!.*Exception)"),
    call("topics", "add partitions", "--alter --topic first --partitions 5", r"\A(?!.*(Exception|Error))"),
    call("topics", "describe added partitions", "--describe --topic first", "PartitionCount: 5"),
]

RECORDS_IN_AND_OUT = [
    call("console-producer", "produce", f"--topic records {KEYED}", r"\A(?!.*Exception)", input=RECORDS),
    call(
        "console-producer",
        "produce compressed, without idempotence",
        "--topic records --compression-codec zstd --command-property enable.idempotence=false",
        r"\A(?!.*Exception)",
        input="a\nb\n",
    ),
    call(
        "console-consumer",
        "read from the beginning",
        "--topic records --from-beginning --max-messages 12 --formatter-property print.key=true",
        "k0\tv0.*k9\tv9.*Processed a total of 12",
    ),
    call(
        "console-consumer",
        "read in a group",
        "--topic records --from-beginning --max-messages 12 --group read",
        "Processed a total of 12",
    ),
    call(
        "console-consumer",
        "read committed, from an offset",
        "--topic records --partition 0 --offset 0 --max-messages 1 --isolation-level read_committed",
        "Processed a total of 1",
    ),
    call(
        "console-consumer",
        "read in a group of the new protocol",
        "--topic records --from-beginning --max-messages 12 --group new --command-property group.protocol=consumer",
        "Processed a total of 12",
    ),
    call(
        "producer-perf-test",
        "acks=all",
        "--topic first --num-records 5000 --record-size 100 --throughput -1 --command-property acks=all",
        "5000 records sent",
    ),
    call(
        "producer-perf-test",
        "transactions",
        "--topic first --num-records 100 --record-size 100 --throughput -1 --transaction-duration-ms 100",
        "100 records sent",
    ),
    call("consumer-perf-test", "read", "--topic first --num-records 5000", r"\d+, 5\d\d\d, "),
    call(
        "e2e-latency",
        "measure",
        "--topic latency --num-records 50 --producer-acks all --record-size 100",
        "Avg latency",
    ),
    call(
        "verifiable-producer",
        "produce",
        "--topic first --max-messages 50 --throughput -1 --acks -1",
        '"acked":50',
    ),
    call(
        "verifiable-consumer",
        "consume",
        "--topic first --group-id verifiable --max-messages 100 --reset-policy earliest",
        '"name":"records_consumed"',
    ),
    call(
        "configs",
        "set a group's",
        "--alter --entity-type groups --entity-name share --add-config share.auto.offset.reset=earliest",
        "Completed updating config",
    ),
    call(
        "console-share-consumer",
        "read in a share group",
        "--topic records --group share --max-messages 1 --timeout-ms 20000",
        "Processed a total of 1",
    ),
]

OFFSETS = [
    call("get-offsets", "latest", "--topic records", "^records:0:\\d+$"),
    call("get-offsets", "earliest", "--topic records --time -2", "^records:0:0$"),
    call("get-offsets", "of the largest timestamp", "--topic records --time -3", r"^records:\d+:\d+$"),
    call("get-offsets", "of a timestamp", "--topic records --time 1000", "^records:0:0$"),
    call("get-offsets", "earliest on this disk", "--topic records --time -4", "^records:0:0$"),
    call("get-offsets", "latest in remote storage", "--topic records --time -5", r"^(records:0:-?\d*)?$"),
    call("get-offsets", "of all topics", "", "^first:0:"),
    call("delete-records", "delete", "--offset-json-file FILES/delete.json", r"records-0\s+low_watermark: 2"),
    call("log-dirs", "describe", "--describe", '"logDirs":.*"partition":"records-0"'),
]

GROUPS = [
    call("groups", "list", "--list", r"^read\s+Classic"),
    call("consumer-groups", "list", "--list", "^read$"),
    call("consumer-groups", "list with states", "--list --state", r"^read\s+Empty"),
    call("consumer-groups", "list with types", "--list --type", r"^read\s+Classic"),
    call("consumer-groups", "describe offsets", "--describe --group read --offsets", r"^read\s+records\s+0\s+\d+"),
    call("consumer-groups", "describe members", "--describe --group read --members --verbose", "has no active members"),
    call("consumer-groups", "describe the state", "--describe --group read --state", r"^read\s+.*Empty\s+0"),
    call("consumer-groups", "describe all", "--describe --all-groups", r"^read\s+records"),
    call(
        "consumer-groups",
        "reset to the earliest",
        "--reset-offsets --group read --topic records --to-earliest --execute",
        r"^read\s+records\s+0\s+\d+",
    ),
    call(
        "consumer-groups",
        "reset to a time",
        "--reset-offsets --group read --all-topics --to-datetime 2020-01-01T00:00:00.000 --execute",
        r"^read\s+records\s+0\s+\d+",
    ),
    call("consumer-groups", "delete offsets", "--delete-offsets --group read --topic records", r"\s0\s+Successful"),
    call("consumer-groups", "delete", "--delete --group verifiable", "successful"),
    call("share-groups", "list", "--list", r"\A(?!.*Exception)"),
    call("streams-groups", "list", "--list", r"\A(?!.*Exception)"),
    call(
        "streams-application-reset",
        "reset",
        "--application-id read --input-topics records --force",
        "(?i)following input topics offsets will be reset",
    ),
]

CONFIGS = [
    call("configs", "describe a topic", "--describe --entity-type topics --entity-name first --all", "retention.ms="),
    call(
        "configs",
        "set a topic's",
        "--alter --entity-type topics --entity-name first --add-config retention.ms=3600000,max.message.bytes=2000000",
        "Completed updating config",
    ),
    call("configs", "describe what was set", "--describe --entity-type topics --entity-name first", "ms=3600000"),
    call(
        "configs",
        "delete a topic's",
        "--alter --entity-type topics --entity-name first --delete-config retention.ms",
        "Completed updating config",
    ),
    call(
        "configs",
        "describe a broker",
        "--describe --entity-type brokers --entity-name 1 --all",
        "advertised.listeners=",
    ),
    call(
        "configs",
        "describe all brokers' defaults",
        "--describe --entity-type brokers --entity-default",
        "Default configs",
    ),
    call(
        "configs",
        "set a broker's",
        "--alter --entity-type brokers --entity-name 1 --add-config log.cleaner.threads=2",
        "Completed updating config",
    ),
    call("configs", "describe a broker's loggers", "--describe --entity-type broker-loggers --entity-name 1", "kafka"),
    call("configs", "describe quotas", "--describe --entity-type clients", r"\A(?!.*(Exception|Error))"),
    call("configs", "describe users", "--describe --entity-type users", r"\A(?!.*(Exception|Error))"),
    call("configs", "describe groups", "--describe --entity-type groups --entity-name read", "configs for group"),
    call("client-metrics", "list", "--list", r"\A(?!.*(Exception|Error))"),
]

CLUSTER = [
    call("cluster", "id", "cluster-id SERVER", "Cluster ID: "),
    call("cluster", "endpoints", "list-endpoints SERVER", r"127\.0\.0\.1"),
    call("broker-api-versions", "show", "", r"Produce\(0\): .*usable"),
    call("features", "describe", "describe", r"\A(?!.*(Exception|Error))"),
    call("metadata-quorum", "describe the status", "describe --status", "LeaderId: +1"),
    call("metadata-quorum", "describe replication", "describe --replication", r"^1\s+.*Leader"),
    call(
        "leader-election",
        "elect preferred leaders",
        "--election-type preferred --all-topic-partitions",
        r"\A(?!.*Exception)",
    ),
    call("reassign-partitions", "list", "--list", "No partition reassignments found"),
    call(
        "reassign-partitions",
        "generate",
        "--generate --topics-to-move-json-file FILES/topics.json --broker-list 1",
        "Proposed partition reassignment configuration",
    ),
    call(
        "reassign-partitions",
        "execute what is so already",
        "--execute --reassignment-json-file FILES/move.json",
        "Successfully started partition reassignment",
    ),
    call(
        "reassign-partitions",
        "verify",
        "--verify --reassignment-json-file FILES/move.json",
        "Reassignment of partition first-0 is completed",
    ),
    call("acls", "list", "--list", "SecurityDisabledException|No Authorizer", status=1),
    call("delegation-tokens", "describe", "--describe --command-config /dev/null", "Exception", status=1),
    call("transactions", "list", "list", "TransactionalId"),
    call("transactions", "describe producers", "describe-producers --topic first --partition 0", "ProducerId"),
    call("transactions", "find hanging ones", "find-hanging --broker-id 1", "Topic"),
    call("topics", "delete", "--delete --topic compacted --if-exists", r"\A(?!.*Exception)"),
    call("topics", "describe what was deleted", "--describe --topic compacted", "does not exist", status=1),
]

CALLS = TOPICS + RECORDS_IN_AND_OUT + OFFSETS + GROUPS + CONFIGS + CLUSTER
