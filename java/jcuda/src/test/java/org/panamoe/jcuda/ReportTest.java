package org.panamoe.jcuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class ReportTest {
    private static final Device DEVICE = new Device(
            1, "NVIDIA H200", 9, 0, 132, 150_754_820_096L, 1_980_000, 3_201_000, 12080, "0000:0f:00.0", "GPU-0123-45");

    @Test
    void whatWasWrittenIsRead() {
        var second = new Device(2, "", 8, 6, 1, 0, 0, 0, 13000, "", "");
        var text = written(out -> {
            Report.step(out, "cuInit");
            Report.device(out, DEVICE);
            Report.device(out, second);
            Report.end(out);
        });
        assertThat(Report.read(text).answer()).hasValue(new Cuda.Present(List.of(DEVICE, second)));
        assertThat(DEVICE.computeCapability()).isEqualTo("9.0");
        assertThat(DEVICE.driver()).isEqualTo("12.8");
    }

    @Test
    void aReasonIsOneLine() {
        var text = written(out -> {
            Report.absent(out, "it\tsaid:\n  no\n");
            Report.end(out);
        });
        assertThat(Report.read(text).answer()).hasValue(new Cuda.Absent("it said: no"));
    }

    @Test
    void aReasonCountsMoreThanDevices() {
        var text = written(out -> {
            Report.device(out, DEVICE);
            Report.absent(out, "the second device is lost");
            Report.end(out);
        });
        assertThat(Report.read(text).answer()).hasValue(new Cuda.Absent("the second device is lost"));
    }

    /** Wherever it is cut, there is no answer, and no error. */
    @Test
    void aReportCutShortIsNoAnswer() {
        var text = written(out -> {
            Report.step(out, "cuInit");
            Report.device(out, DEVICE);
            Report.end(out);
        });
        for (int length = 0; length < text.stripTrailing().length(); length++)
            assertThat(Report.read(text.substring(0, length)).answer()).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "panamoe-cuda",
                "panamoe-cuda\tend",
                "panamoe-cuda\tend\tnot",
                "panamoe-cuda\tdevice\npanamoe-cuda\tend",
                "panamoe-cuda\tdevice\t0\tX\t9\t0\t?\t1\t1\t1\t1\tp\tu\npanamoe-cuda\tend",
                "\u0000\ufffd\t\t\n\n\t"
            })
    void nonsenseIsNoAnswer(String text) {
        assertThat(Report.read(text).answer()).isEqualTo(Optional.empty());
    }

    @Test
    void othersMayTalkInBetween() {
        var text = written(out -> {
            Report.step(out, "cuInit");
            out.print("driver: no line's end");
            Report.device(out, DEVICE);
            Report.end(out);
        });
        var report = Report.read(text);
        assertThat(report.answer()).hasValue(new Cuda.Present(List.of(DEVICE)));
        assertThat(report.where()).isEqualTo(" in cuInit");
        assertThat(report.why()).isEqualTo(": driver: no line's end");
    }

    @Test
    void ofACrashTheSignalAndTheFrame() {
        var text = """
                #
                # A fatal error has been detected by the Java Runtime Environment:
                #
                #  SIGSEGV (0xb) at pc=0x00007f, pid=1, tid=2
                #
                # JRE version: OpenJDK Runtime Environment (25.0+36)
                # Problematic frame:
                # C  [libcuda.so.1+0x1139]  cuInit+0x40
                #
                """;
        assertThat(Report.read(text).why())
                .isEqualTo(": SIGSEGV (0xb) at pc=0x00007f, pid=1, tid=2; C  [libcuda.so.1+0x1139]  cuInit+0x40");
        assertThat(Report.read("").why()).isEmpty();
        assertThat(Report.read("").where()).isEmpty();
    }

    private static String written(Consumer<PrintStream> writer) {
        var bytes = new ByteArrayOutputStream();
        writer.accept(new PrintStream(bytes, false, StandardCharsets.UTF_8));
        return bytes.toString(StandardCharsets.UTF_8);
    }
}
