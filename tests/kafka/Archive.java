// A broker, a producer, a consumer and tools in one virtual machine, once: with -XX:ArchiveClassesAtExit=FILE their
// classes are in FILE afterwards, and machines that are started with -XX:SharedArchiveFile=FILE need half the time for
// their start. test.sh does so for each version of Kafka; without the files the tests take longer and that is all.
//
// Run from source: java -XX:ArchiveClassesAtExit=FILE -cp 'jars/*' Archive.java FOLDER

import java.io.ByteArrayInputStream;
import java.lang.reflect.InvocationTargetException;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.utils.Exit;

public class Archive {
    private static final List<String> PRODUCERS =
        List.of("org.apache.kafka.tools.ConsoleProducer", "kafka.tools.ConsoleProducer");

    public static void main(String[] arguments) {
        try {
            work(Path.of(arguments[0]));
            System.exit(0);
        } catch (Exception error) {
            error.printStackTrace();
            // Without an archive.
            Runtime.getRuntime().halt(1);
        }
    }

    private static void work(Path folder) throws Exception {
        String broker = "127.0.0.1:" + freePort();
        Path settings = Files.writeString(folder.resolve("server.properties"), properties(folder, broker));
        Exit.setExitProcedure((status, message) -> {
            throw new IllegalStateException("ended with " + status);
        });
        run("kafka.tools.StorageTool", "format", "-t", "cG9pbnQtdG8tcG9pbnQtMQ", "-c", settings.toString());
        Thread node = new Thread(() -> run("kafka.Kafka", settings.toString()), "broker");
        node.setDaemon(true);
        node.start();
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker, "default.api.timeout.ms", 60_000))) {
            admin.createTopics(List.of(new NewTopic("t", 1, (short) 1))).all().get(60, TimeUnit.SECONDS);
        }
        System.setIn(new ByteArrayInputStream("1\n2\n".getBytes(StandardCharsets.UTF_8)));
        String producer = PRODUCERS.stream().filter(Archive::exists).findFirst().orElseThrow();
        run(producer, "--bootstrap-server", broker, "--topic", "t");
        run("org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", broker, "--topic", "t", "--group", "g",
            "--from-beginning", "--max-messages", "2", "--timeout-ms", "30000");
        run("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server", broker, "--describe",
            "--group", "g");
    }

    private static int freePort() throws Exception {
        try (ServerSocket socket = new ServerSocket(0)) {
            return socket.getLocalPort();
        }
    }

    private static String properties(Path folder, String broker) throws Exception {
        String controller = "127.0.0.1:" + freePort();
        return String.join("\n", "process.roles=broker,controller", "node.id=1",
            "controller.listener.names=CONTROLLER", "controller.quorum.voters=1@" + controller,
            "listeners=PLAINTEXT://" + broker + ",CONTROLLER://" + controller, "log.dirs=" + folder.resolve("data"),
            "offsets.topic.num.partitions=1", "offsets.topic.replication.factor=1",
            "group.initial.rebalance.delay.ms=0");
    }

    private static boolean exists(String name) {
        try {
            Class.forName(name);
            return true;
        } catch (ClassNotFoundException error) {
            return false;
        }
    }

    private static void run(String name, String... arguments) {
        try {
            Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException error) {
            // A tool that asks for the end of the machine has done its work.
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(name, error);
        }
    }
}
