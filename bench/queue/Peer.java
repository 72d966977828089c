import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.ParallelStreamProcessor;
import io.confluent.parallelconsumer.PollContext;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Confluent's Parallel Consumer with a function that sleeps: BOOTSTRAP TOPIC GROUP MESSAGES CONCURRENCY ORDER
 * MILLISECONDS FAILS HISTORY, the same as ours.rs, which says what they mean. Kafka's consumer and the Parallel
 * Consumer have their default settings, except those that it asks for itself.
 */
class Peer {
    static final int FAILING = 1_000_000;
    static final int STUCK = 2_000_000;
    static final int RECORD = 32;

    static final ConcurrentLinkedQueue<Recorder> RECORDERS = new ConcurrentLinkedQueue<>();
    static final ThreadLocal<Recorder> RECORDER = ThreadLocal.withInitial(() -> {
        Recorder recorder = new Recorder();
        RECORDERS.add(recorder);
        return recorder;
    });
    static final AtomicLong HANDLED = new AtomicLong();
    static FileChannel history;

    public static void main(String[] arguments) throws Exception {
        long messages = Long.parseLong(arguments[3]);
        long work = Long.parseLong(arguments[6]);
        boolean fails = arguments[7].equals("fails");
        history = FileChannel.open(Path.of(arguments[8]), StandardOpenOption.CREATE, StandardOpenOption.APPEND);

        Map<String, Object> settings = Map.of(
            ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0],
            ConsumerConfig.GROUP_ID_CONFIG, arguments[2],
            ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest",
            ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
        var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
        var order = arguments[5].equals("none") ? ProcessingOrder.UNORDERED : ProcessingOrder.KEY;
        var options = ParallelConsumerOptions.<String, String>builder()
            .consumer(consumer)
            .ordering(order)
            .maxConcurrency(Integer.parseInt(arguments[4]))
            .retryDelayProvider(failed -> Duration.ofSeconds(30))
            .build();
        var processor = ParallelStreamProcessor.createEosStreamProcessor(options);
        processor.subscribe(List.of(arguments[1]));
        processor.poll(context -> handle(context, work, fails));

        while (HANDLED.get() == 0) {
            Thread.sleep(1);
        }
        System.out.println("first");
        while (HANDLED.get() < messages) {
            Thread.sleep(1);
        }
        System.out.println("done");
        System.in.read();
        if (!fails) {
            processor.closeDrainFirst();
        }
        for (Recorder recorder : RECORDERS) {
            recorder.flush();
        }
        System.exit(0);
    }

    static void handle(PollContext<String, String> context, long work, boolean fails) {
        long start = System.nanoTime();
        int key = Integer.parseInt(context.key(), 4, context.key().length(), 10);
        if (fails && key == STUCK) {
            sleep(600_000);
        }
        if (fails && key >= FAILING && context.getSingleRecord().getNumberOfFailedAttempts() == 0) {
            throw new IllegalStateException("fails at its first attempt");
        }
        if (work > 0) {
            sleep(work);
        }
        int partition = context.getSingleConsumerRecord().partition();
        RECORDER.get().add(partition, key, context.offset(), start, System.nanoTime());
        if (key < FAILING) {
            HANDLED.incrementAndGet();
        }
    }

    static void sleep(long milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException stopped) {
            throw new IllegalStateException(stopped);
        }
    }

    /** One thread's part of the history, which goes to the file in blocks. */
    static class Recorder {
        private final ByteBuffer block = ByteBuffer.allocate(64 * RECORD).order(ByteOrder.LITTLE_ENDIAN);

        synchronized void add(int partition, int key, long offset, long start, long end) {
            block.putInt(partition).putInt(key).putLong(offset).putLong(start).putLong(end);
            if (!block.hasRemaining()) {
                flush();
            }
        }

        synchronized void flush() {
            block.flip();
            try {
                history.write(block);
            } catch (java.io.IOException problem) {
                System.err.println("no history: " + problem);
                System.exit(1);
            }
            block.clear();
        }
    }
}
