// Java's own Kafka clients and tools behind standard input and output, so that a test asks a running virtual machine
// instead of starting one for every question. One command a line, its words separated by tabs: a number, the bootstrap
// servers, the command and its arguments. Commands run beside each other; the answer to one is written at once: any
// number of lines that start with a tab, then one line `ok NUMBER` or `error NUMBER <what>`. Keys and values travel as
// hexadecimal, null as `-`.
//
// Run from source: java -cp 'jars/*' Assistant.java

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.Exit;

public class Assistant {
    private static final int PATIENCE_MS = 20_000;
    private static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    private static final Map<String, Assistant> ASSISTANTS = new ConcurrentHashMap<>();
    // What the command of this thread answers, and what the tool that it runs has printed.
    private static final ThreadLocal<StringBuilder> ANSWER = ThreadLocal.withInitial(StringBuilder::new);
    private static final ThreadLocal<Tool> TOOL = new ThreadLocal<>();
    private final String bootstrap;
    private final Admin admin;

    private Assistant(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of(
            "bootstrap.servers", bootstrap,
            "default.api.timeout.ms", PATIENCE_MS,
            "request.timeout.ms", PATIENCE_MS / 2));
    }

    // A tool at work. It ends by asking for the end of the whole virtual machine; what it does when it does not get
    // that counts no more.
    private static class Tool {
        private final ByteArrayOutputStream printed = new ByteArrayOutputStream();
        private Integer status;

        void end(int status) {
            if (this.status == null) {
                this.status = status;
            }
            throw new IllegalStateException("a tool has ended with " + status);
        }

        void write(byte[] bytes, int from, int length) {
            if (status == null) {
                printed.write(bytes, from, length);
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        PrintStream printed = new PrintStream(new OfThread(System.err), true, StandardCharsets.UTF_8);
        System.setOut(printed);
        System.setErr(printed);
        Exit.setExitProcedure((status, message) -> TOOL.get().end(status));
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        ExecutorService threads = Executors.newCachedThreadPool();
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String[] words = line.split("\t", -1);
            threads.execute(() -> answer(words[0], words[1], words));
        }
        System.exit(0);
    }

    private static void answer(String number, String bootstrap, String[] words) {
        StringBuilder answer = ANSWER.get();
        answer.setLength(0);
        String end;
        try {
            switch (words[2]) {
                case "tool" -> tool(words[3], words);
                case "forget" -> forget(bootstrap);
                default -> ASSISTANTS.computeIfAbsent(bootstrap, Assistant::new).run(rest(words, 2).toArray(String[]::new));
            }
            end = "ok " + number;
        } catch (Throwable error) {
            Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
            end = "error " + number + " " + cause.toString().replace('\n', ' ');
        }
        synchronized (OUT) {
            OUT.print(answer);
            OUT.println(end);
            OUT.flush();
        }
    }

    // forget: the cluster is gone.
    private static void forget(String bootstrap) {
        Assistant assistant = ASSISTANTS.remove(bootstrap);
        if (assistant != null) {
            assistant.admin.close(Duration.ZERO);
        }
    }

    // tool CLASS ARGUMENT ...: runs a command-line tool -> a line with its exit status, then what it has printed
    private static void tool(String name, String[] words) throws Exception {
        Tool tool = new Tool();
        TOOL.set(tool);
        try {
            String[] arguments = rest(words, 4).toArray(String[]::new);
            Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException error) {
            if (tool.status == null) {
                throw error;
            }
        } finally {
            TOOL.remove();
        }
        say(tool.status == null ? 0 : tool.status);
        tool.printed.toString(StandardCharsets.UTF_8).lines().forEach(line -> say(line));
    }

    // What a thread prints that runs a tool is kept; everything else goes where it always went.
    private static class OfThread extends OutputStream {
        private final PrintStream others;

        OfThread(PrintStream others) {
            this.others = others;
        }

        @Override
        public void write(int one) {
            write(new byte[] {(byte) one}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int from, int length) {
            Tool tool = TOOL.get();
            if (tool == null) {
                others.write(bytes, from, length);
            } else {
                tool.write(bytes, from, length);
            }
        }
    }

    private void run(String[] words) throws Exception {
        switch (words[0]) {
            case "create" -> create(words[1], Integer.parseInt(words[2]), Short.parseShort(words[3]), rest(words, 4));
            case "grow" ->
                admin.createPartitions(Map.of(words[1], NewPartitions.increaseTo(Integer.parseInt(words[2])))).all().get();
            case "configure" -> configure(words[1], rest(words, 2));
            case "topics" -> admin.listTopics().names().get().forEach(name -> say(name));
            case "leader" -> leader(words[1], Integer.parseInt(words[2]));
            case "ends" -> ends(words[1]);
            case "committed", "notes" -> committed(words[1]);
            case "members" -> members(words[1]);
            case "produce" -> produce(words[1], words[2], Integer.parseInt(words[3]), words[4],
                Integer.parseInt(words[5]));
            case "put" -> put(words[1], Integer.parseInt(words[2]), words[3], words[4], rest(words, 5));
            case "transaction" -> transaction(words[1], Integer.parseInt(words[2]), words[3].equals("commit"),
                words[4], Integer.parseInt(words[5]));
            case "trim" -> admin.deleteRecords(Map.of(new TopicPartition(words[1], Integer.parseInt(words[2])),
                RecordsToDelete.beforeOffset(Long.parseLong(words[3])))).all().get();
            case "allow" -> acl(words, true);
            case "forbid" -> acl(words, false);
            case "scram" -> admin.alterUserScramCredentials(List.of(new UserScramCredentialUpsertion(words[1],
                new ScramCredentialInfo(ScramMechanism.fromMechanismName(words[3]), 4096), words[2]))).all().get();
            case "delete" -> admin.deleteTopics(List.of(words[1])).all().get();
            case "read" -> read(words[1], words[2]);
            default -> throw new IllegalArgumentException("unknown command " + words[0]);
        }
    }

    private static List<String> rest(String[] words, int from) {
        return Arrays.asList(words).subList(from, words.length);
    }

    private static void say(Object... words) {
        String line = Arrays.stream(words).map(String::valueOf).collect(Collectors.joining("\t"));
        ANSWER.get().append('\t').append(line).append('\n');
    }

    // create TOPIC PARTITIONS REPLICAS [key=value ...]
    private void create(String topic, int partitions, short replicas, List<String> settings) throws Exception {
        Map<String, String> configs = new HashMap<>();
        for (String setting : settings) {
            String[] pair = setting.split("=", 2);
            configs.put(pair[0], pair[1]);
        }
        admin.createTopics(List.of(new NewTopic(topic, partitions, replicas).configs(configs))).all().get();
        // The leaders know it as well, and whichever broker is asked for its metadata.
        Map<TopicPartition, OffsetSpec> ends = new HashMap<>();
        for (int partition = 0; partition < partitions; partition++) {
            ends.put(new TopicPartition(topic, partition), OffsetSpec.latest());
        }
        long deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
        while (true) {
            try {
                admin.listOffsets(ends).all().get();
                return;
            } catch (ExecutionException error) {
                boolean unknown = error.getCause() instanceof UnknownTopicOrPartitionException;
                if (!unknown || System.nanoTime() > deadline) {
                    throw error;
                }
                Thread.sleep(20);
            }
        }
    }

    // configure TOPIC key=value ...
    private void configure(String topic, List<String> settings) throws Exception {
        List<AlterConfigOp> changes = new ArrayList<>();
        for (String setting : settings) {
            String[] pair = setting.split("=", 2);
            changes.add(new AlterConfigOp(new ConfigEntry(pair[0], pair[1]), AlterConfigOp.OpType.SET));
        }
        admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.TOPIC, topic), changes)).all().get();
    }

    // allow USER TYPE NAME OPERATION: adds an ACL; forbid takes it away
    private void acl(String[] words, boolean allowed) throws Exception {
        ResourcePattern pattern = new ResourcePattern(ResourceType.fromString(words[2]), words[3], PatternType.LITERAL);
        AccessControlEntry entry = new AccessControlEntry("User:" + words[1], "*", AclOperation.fromString(words[4]),
            AclPermissionType.ALLOW);
        AclBinding binding = new AclBinding(pattern, entry);
        if (allowed) {
            admin.createAcls(List.of(binding)).all().get();
        } else {
            admin.deleteAcls(List.of(binding.toFilter())).all().get();
        }
    }

    private TopicDescription describe(String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    // leader TOPIC PARTITION -> node id, or -1 while there is none
    private void leader(String topic, int partition) throws Exception {
        var leader = describe(topic).partitions().get(partition).leader();
        say(leader == null ? -1 : leader.id());
    }

    private List<TopicPartition> partitions(String topic) throws Exception {
        return describe(topic).partitions().stream().map(p -> new TopicPartition(topic, p.partition())).toList();
    }

    private KafkaConsumer<byte[], byte[]> reader(String isolation) {
        return new KafkaConsumer<>(Map.of(
            "bootstrap.servers", bootstrap,
            "isolation.level", isolation,
            "max.poll.records", 10_000,
            "default.api.timeout.ms", PATIENCE_MS), new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    // ends TOPIC -> a line for each partition: partition, first offset, next offset
    private void ends(String topic) throws Exception {
        List<TopicPartition> partitions = partitions(topic);
        try (KafkaConsumer<byte[], byte[]> consumer = reader("read_uncommitted")) {
            Map<TopicPartition, Long> first = consumer.beginningOffsets(partitions);
            Map<TopicPartition, Long> next = consumer.endOffsets(partitions);
            for (TopicPartition partition : partitions) {
                say(partition.partition(), first.get(partition), next.get(partition));
            }
        }
    }

    // committed, notes GROUP -> a line for each committed partition: topic, partition, offset, metadata
    private void committed(String group) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> offsets;
        try {
            offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        } catch (ExecutionException error) {
            if (error.getCause() instanceof GroupIdNotFoundException) {
                return;
            }
            throw error;
        }
        offsets.forEach((partition, offset) -> {
            if (offset != null) {
                say(partition.topic(), partition.partition(), offset.offset(), offset.metadata());
            }
        });
    }

    // members GROUP -> a line with the group's state, then one for each member: client id, member id, topic:partition,...
    @SuppressWarnings("removal") // The name that Kafka 3.9 and 4.3 share.
    private void members(String group) throws Exception {
        ConsumerGroupDescription description;
        try {
            description = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
        } catch (ExecutionException error) {
            if (error.getCause() instanceof GroupIdNotFoundException) {
                say("Dead");
                return;
            }
            throw error;
        }
        say(description.state());
        for (MemberDescription member : description.members()) {
            say(member.clientId(), member.consumerId(), member.assignment().topicPartitions().stream()
                .map(p -> p.topic() + ":" + p.partition()).sorted().collect(Collectors.joining(",")));
        }
    }

    private KafkaProducer<byte[], byte[]> writer(Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(Map.of(
            "bootstrap.servers", bootstrap,
            "max.request.size", 32 * 1024 * 1024,
            "delivery.timeout.ms", PATIENCE_MS,
            "request.timeout.ms", PATIENCE_MS / 2));
        settings.putAll(more);
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static byte[] bytes(String hexadecimal) {
        return hexadecimal.equals("-") ? null : HexFormat.of().parseHex(hexadecimal);
    }

    private static String hexadecimal(byte[] bytes) {
        return bytes == null ? "-" : HexFormat.of().formatHex(bytes);
    }

    private static Integer partition(int number) {
        return number < 0 ? null : number;
    }

    // produce TOPIC CODEC PARTITION TEMPLATE COUNT: COUNT values, TEMPLATE with %d replaced by 0, 1, ...
    // Those of one partition go within one lingering batch where they fit; partition -1 spreads them evenly over all.
    private void produce(String topic, String codec, int partition, String template, int count) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = writer(Map.of("compression.type", codec, "linger.ms", 50))) {
            int partitions = producer.partitionsFor(topic).size();
            for (int i = 0; i < count; i++) {
                int to = partition < 0 ? i % partitions : partition;
                sent.add(producer.send(new ProducerRecord<>(topic, to, null, numbered(template, i))));
            }
        }
        for (Future<RecordMetadata> acknowledgement : sent) {
            acknowledgement.get();
        }
    }

    private static byte[] numbered(String template, int number) {
        return template.replace("%d", Integer.toString(number)).getBytes(StandardCharsets.UTF_8);
    }

    // put TOPIC PARTITION KEY VALUE [NAME VALUE ...] -> partition, offset; the names and values are headers
    private void put(String topic, int partition, String key, String value, List<String> headers) throws Exception {
        var record = new ProducerRecord<>(topic, partition(partition), bytes(key), bytes(value));
        for (int i = 0; i + 1 < headers.size(); i += 2) {
            record.headers().add(headers.get(i), bytes(headers.get(i + 1)));
        }
        try (KafkaProducer<byte[], byte[]> producer = writer(Map.of())) {
            RecordMetadata place = producer.send(record).get();
            say(place.partition(), place.offset());
        }
    }

    // transaction TOPIC PARTITION commit|abort TEMPLATE COUNT: one transaction, which ends with a control batch.
    private void transaction(String topic, int partition, boolean commit, String template, int count) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = writer(Map.of("transactional.id", "assistant-" + topic))) {
            producer.initTransactions();
            producer.beginTransaction();
            for (int i = 0; i < count; i++) {
                producer.send(new ProducerRecord<>(topic, partition(partition), null, numbered(template, i)));
            }
            producer.flush();
            if (commit) {
                producer.commitTransaction();
            } else {
                producer.abortTransaction();
            }
        }
    }

    // read TOPIC read_committed|read_uncommitted -> a line for each record: partition, offset, key, value,
    // timestamp, and then name and value of each header
    private void read(String topic, String isolation) throws Exception {
        List<TopicPartition> partitions = partitions(topic);
        try (KafkaConsumer<byte[], byte[]> consumer = reader(isolation)) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            long deadline = System.nanoTime() + PATIENCE_MS * 1_000_000L;
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("not at the end of " + topic + " after " + PATIENCE_MS + " ms");
                }
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    List<Object> words = new ArrayList<>(List.of(record.partition(), record.offset(),
                        hexadecimal(record.key()), hexadecimal(record.value()), record.timestamp()));
                    for (Header header : record.headers()) {
                        words.add(header.key());
                        words.add(hexadecimal(header.value()));
                    }
                    say(words.toArray());
                }
            }
        }
    }
}
