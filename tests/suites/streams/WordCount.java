import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;

/** Counts words with Kafka Streams; arguments: the broker's address, and an empty folder for the state. */
public class WordCount {
    static final Duration PATIENCE = Duration.ofSeconds(60);
    static String bootstrap;
    static Path folder;

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        folder = Path.of(arguments[1]);
        try (var admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            var topics = List.of("lines", "counts", "windows", "once-lines", "once-counts");
            admin.createTopics(topics.stream().map(name -> new NewTopic(name, 4, (short) 1)).toList()).all().get();
            test("counts words", () -> {
                try (var streams = new Running("first", "at_least_once", "lines", "counts")) {
                    send("lines", "to be or not to be", "that is the question");
                    expect("counts", Map.of("to", 2L, "be", 2L, "or", 1L, "question", 1L));
                }
                return null;
            });
            test("makes its internal topics", () -> {
                var changelog = "words-counted-changelog";
                var repartition = "words-words-repartition";
                var both = Set.of(changelog, repartition);
                await(() -> names(admin).containsAll(both), () -> "there are " + names(admin));
                expectConfig(admin, changelog, "cleanup.policy", "compact");
                expectConfig(admin, repartition, "cleanup.policy", "delete");
                expectConfig(admin, repartition, "retention.ms", "-1");
                return null;
            });
            test("shares the work with a second instance", () -> {
                try (var one = new Running("one", "at_least_once", "lines", "counts");
                        var two = new Running("two", "at_least_once", "lines", "counts")) {
                    await(() -> one.tasks() > 0 && two.tasks() > 0, () -> one.tasks() + " and " + two.tasks());
                    send("lines", "to share is to live");
                    expect("counts", Map.of("to", 4L, "share", 1L));
                }
                return null;
            });
            test("restores its state from the changelog", () -> {
                try (var streams = new Running("afresh", "at_least_once", "lines", "counts")) {
                    send("lines", "to be again");
                    expect("counts", Map.of("to", 5L, "be", 3L, "again", 1L));
                }
                return null;
            });
            test("counts in windows", () -> {
                try (var streams = new Running("windowed", "at_least_once", "lines", "windows")) {
                    send("lines", "pane pane");
                    expect("windows", Map.of("pane", 2L));
                }
                return null;
            });
            test("exactly once", () -> {
                try (var streams = new Running("once", "exactly_once_v2", "once-lines", "once-counts")) {
                    send("once-lines", "once upon a time, once");
                    expect("once-counts", Map.of("once", 2L));
                }
                return null;
            });
        }
        System.exit(0);
    }

    static void test(String name, Callable<Void> body) {
        try {
            body.call();
            System.out.println("ok " + name);
        } catch (Throwable error) {
            error.printStackTrace();
            System.out.println("failed " + name + ": " + String.valueOf(error).replace('\n', ' '));
        }
    }

    /** An instance of the word count, from its start to its end. */
    static class Running implements AutoCloseable {
        final KafkaStreams streams;
        volatile Throwable error;

        Running(String name, String guarantee, String from, String to) {
            var settings = new Properties();
            settings.put("application.id", to.equals("counts") ? "words" : "words-" + to);
            settings.put("client.id", name);
            settings.put("bootstrap.servers", bootstrap);
            settings.put("processing.guarantee", guarantee);
            settings.put("state.dir", folder.resolve(name).toString());
            settings.put("commit.interval.ms", 200);
            settings.put("statestore.cache.max.bytes", 0);
            settings.put("auto.offset.reset", "earliest");
            settings.put("default.key.serde", Serdes.StringSerde.class);
            settings.put("default.value.serde", Serdes.StringSerde.class);
            var builder = new StreamsBuilder();
            KStream<String, String> lines = builder.stream(from);
            var words = lines.flatMapValues(line -> List.of(line.toLowerCase().split("\\W+")))
                    .groupBy((key, word) -> word, Grouped.as("words"));
            var produced = Produced.with(Serdes.String(), Serdes.Long());
            if (to.equals("windows")) {
                words.windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofHours(1)))
                        .count(Materialized.as("windowed"))
                        .toStream((window, count) -> window.key())
                        .to(to, produced);
            } else {
                words.count(Materialized.as("counted")).toStream().to(to, produced);
            }
            streams = new KafkaStreams(builder.build(), settings);
            streams.setUncaughtExceptionHandler(failure -> {
                error = failure;
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            streams.start();
            await(() -> streams.state() == KafkaStreams.State.RUNNING || error != null, () -> "is " + streams.state());
            if (error != null) {
                streams.close(Duration.ofSeconds(10));
                throw new IllegalStateException(error);
            }
        }

        int tasks() {
            return streams.metadataForLocalThreads().stream().mapToInt(thread -> thread.activeTasks().size()).sum();
        }

        @Override
        public void close() {
            streams.close(Duration.ofSeconds(20));
            if (error != null) throw new IllegalStateException(error);
        }
    }

    static void send(String topic, String... lines) throws Exception {
        var settings = Map.<String, Object>of("bootstrap.servers", bootstrap, "acks", "all");
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (var line : lines) producer.send(new ProducerRecord<>(topic, line)).get();
        }
    }

    /** Reads a topic of counts until the last ones of these words are as given. */
    static void expect(String topic, Map<String, Long> expected) {
        var settings = Map.<String, Object>of(
                "bootstrap.servers", bootstrap, "auto.offset.reset", "earliest",
                "group.id", "reader-" + System.nanoTime(),
                "isolation.level", "read_committed");
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new LongDeserializer())) {
            consumer.subscribe(List.of(topic));
            var counts = new HashMap<String, Long>();
            await(() -> {
                for (ConsumerRecord<String, Long> record : consumer.poll(Duration.ofMillis(200))) {
                    counts.put(record.key(), record.value());
                }
                return counts.entrySet().containsAll(expected.entrySet());
            }, () -> "counted " + counts);
        }
    }

    static void expectConfig(Admin admin, String topic, String name, String expected) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var value = admin.describeConfigs(List.of(resource)).all().get().get(resource).get(name).value();
        if (!expected.equals(value)) throw new IllegalStateException(name + " of " + topic + " is " + value);
    }

    static Set<String> names(Admin admin) {
        try {
            return new TreeSet<>(admin.listTopics().names().get());
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    static void await(BooleanSupplier condition, java.util.function.Supplier<String> state) {
        var end = System.nanoTime() + PATIENCE.toNanos();
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > end) throw new IllegalStateException(state.get());
            try {
                Thread.sleep(50);
            } catch (InterruptedException error) {
                throw new IllegalStateException(error);
            }
        }
    }
}
