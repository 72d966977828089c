import java.util.Map;
import java.util.Random;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Fills a topic with messages of 250 bytes whose keys have a given distribution, the same for the same arguments:
 * BOOTSTRAP TOPIC MESSAGES KEYS EXPONENT FAILING. Key number n (from 0) has a share like 1/(n+1)^EXPONENT, exactly:
 * chance decides only about the order. With FAILING above 0, each message of that many has a key of its own above
 * 1,000,000, and one near the start has the key 2,000,000: those that the consumers fail at, and hang at. Prints the
 * messages of the first key.
 */
class Fill {
    static final int BYTES = 250;

    public static void main(String[] arguments) throws Exception {
        int messages = Integer.parseInt(arguments[2]);
        int keys = Integer.parseInt(arguments[3]);
        int[] line = shuffled(messages, keys, Double.parseDouble(arguments[4]));
        int failing = Integer.parseInt(arguments[5]);
        if (failing > 0) {
            for (int i = failing / 2; i < messages; i += failing) {
                line[i] = 1_000_000 + i;
            }
            line[messages / 100] = 2_000_000;
        }
        Map<String, Object> settings = Map.of(
            ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0],
            ProducerConfig.LINGER_MS_CONFIG, 20,
            ProducerConfig.BATCH_SIZE_CONFIG, 256 * 1024);
        Exception[] failure = new Exception[1];
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < messages; i++) {
                var record = new ProducerRecord<>(arguments[1], String.format("key-%07d", line[i]), value(i));
                producer.send(record, (stored, problem) -> {
                    if (problem != null) {
                        failure[0] = problem;
                    }
                });
            }
            producer.flush();
        }
        if (failure[0] != null) {
            throw failure[0];
        }
        int first = 0;
        for (int key : line) {
            first += key == 0 ? 1 : 0;
        }
        System.out.println(first);
    }

    /** The key of each message: exact shares, then a seeded shuffle. */
    static int[] shuffled(int messages, int keys, double exponent) {
        double total = 0;
        for (int key = 0; key < keys; key++) {
            total += Math.pow(key + 1, -exponent);
        }
        int[] line = new int[messages];
        double share = 0;
        int at = 0;
        for (int key = 0; key < keys; key++) {
            share += Math.pow(key + 1, -exponent) / total * messages;
            long end = key == keys - 1 ? messages : Math.min(messages, Math.round(share));
            while (at < end) {
                line[at++] = key;
            }
        }
        Random chance = new Random(13);
        for (int i = messages - 1; i > 0; i--) {
            int other = chance.nextInt(i + 1);
            int swapped = line[i];
            line[i] = line[other];
            line[other] = swapped;
        }
        return line;
    }

    static String value(int number) {
        StringBuilder text = new StringBuilder(BYTES).append("{\"id\":").append(number).append(",\"text\":\"");
        while (text.length() < BYTES - 2) {
            text.append("0123456789abcdef".charAt((number + text.length()) & 15));
        }
        return text.append("\"}").toString();
    }
}
