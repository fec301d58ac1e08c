package org.panamoe.jcuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Whatever becomes of the process, it is a reason. */
final class ProbeProcessTest {
    private static final Duration LONG = Duration.ofSeconds(60);

    static final class Halts {
        public static void main(String[] args) {
            Report.step(System.out, "cuInit");
            Runtime.getRuntime().halt(134);
        }
    }

    static final class Hangs {
        public static void main(String[] args) throws InterruptedException {
            Report.step(System.out, "cuInit");
            Thread.sleep(Duration.ofMinutes(10));
        }
    }

    static final class SaysNothing {
        public static void main(String[] args) {}
    }

    /** As where the driver crashes while the process ends. */
    static final class AnswersAndFails {
        public static void main(String[] args) {
            Report.absent(System.out, "none");
            Report.end(System.out);
            Runtime.getRuntime().halt(1);
        }
    }

    static final class Complains {
        public static void main(String[] args) {
            System.err.println("symbol lookup error: undefined symbol: cuInit");
            Runtime.getRuntime().halt(127);
        }
    }

    /** More than a pipe holds. */
    static final class Chatters {
        public static void main(String[] args) {
            for (int i = 0; i < 20_000; i++) System.out.println("driver: chatter");
            Report.absent(System.out, "none");
            Report.end(System.out);
        }
    }

    @Test
    void dies() {
        assertThat(run(Halts.class))
                .isEqualTo("the process that looked for devices ended in cuInit with exit code 134 (SIGABRT)");
    }

    @Test
    void hangs() {
        long begin = System.nanoTime();
        assertThat(run(Hangs.class, Duration.ofMillis(2500))).startsWith("the driver did not answer within 2.5 s");
        assertThat(Duration.ofNanos(System.nanoTime() - begin)).isLessThan(Duration.ofSeconds(20));
    }

    @Test
    void saysNothing() {
        assertThat(run(SaysNothing.class)).isEqualTo("the process that looked for devices ended with exit code 0");
    }

    @Test
    void failsAfterItsAnswer() {
        assertThat(run(AnswersAndFails.class)).isEqualTo("the process that looked for devices ended with exit code 1");
    }

    @Test
    void complains() {
        assertThat(run(Complains.class))
                .isEqualTo("the process that looked for devices ended with exit code 127:"
                        + " symbol lookup error: undefined symbol: cuInit");
    }

    @Test
    void chatters() {
        assertThat(run(Chatters.class)).isEqualTo("none");
    }

    @Test
    void cannotBegin() {
        assertThat(reason(new ProbeProcess("/nowhere", Map.of()).run("org.panamoe.jcuda.Nobody", LONG)))
                .startsWith("the process that looked for devices ended with exit code 1: Error: Could not find");
    }

    @Test
    void isInterrupted() {
        Thread.currentThread().interrupt();
        assertThat(run(Hangs.class)).startsWith("interrupted while looking for devices");
        assertThat(Thread.interrupted()).isTrue();
    }

    @Test
    void hasWhatItNeeds() {
        assertThat(ProbeProcess.ofThisProgram().classPath())
                .contains("jcuda/target/classes", "/jcuda-12.6.0.jar", "/jcuda-natives-12.6.0-linux-x86_64.jar");
    }

    private static String run(Class<?> main) {
        return run(main, LONG);
    }

    private static String run(Class<?> main, Duration limit) {
        return reason(new ProbeProcess(Jvm.CLASS_PATH, Map.of()).run(main.getName(), limit));
    }

    private static String reason(Cuda.Found found) {
        return switch (found) {
            case Cuda.Absent(var reason) -> reason;
            case Cuda.Present present -> throw new AssertionError(present);
        };
    }
}
