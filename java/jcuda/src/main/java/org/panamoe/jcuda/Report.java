package org.panamoe.jcuda;

import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What a process says of its devices, in lines of fields between tabs. Other lines may lie between them: the JVM and the
 * driver write to the same stream, and if the process dies, theirs tell why.
 *
 * <pre>
 * panamoe-cuda  step    what it will do next, and may not survive
 * panamoe-cuda  device  one for each, with its components in order
 * panamoe-cuda  absent  the reason
 * panamoe-cuda  end     nothing is missing
 * </pre>
 */
final class Report {
    private static final String MARK = "panamoe-cuda";
    private static final int FIELDS = Device.class.getRecordComponents().length;

    private final List<Device> devices = new ArrayList<>();
    private final List<String> others = new ArrayList<>();
    private String step = "";
    private @Nullable String reason;
    private boolean ended;

    private Report() {}

    /** Says what comes next. */
    static void step(PrintStream out, String step) {
        line(out, "step", step);
    }

    static void device(PrintStream out, Device d) {
        line(
                out,
                "device",
                d.index(),
                d.name(),
                d.major(),
                d.minor(),
                d.multiprocessors(),
                d.memoryBytes(),
                d.clockKilohertz(),
                d.memoryClockKilohertz(),
                d.driverVersion(),
                d.pciBusId(),
                d.uuid());
    }

    static void absent(PrintStream out, String reason) {
        line(out, "absent", reason);
    }

    static void end(PrintStream out) {
        line(out, "end");
    }

    /** Begins with a line's end: the driver may have left one open. */
    private static void line(PrintStream out, String kind, Object... fields) {
        var line = new StringBuilder("\n").append(MARK).append('\t').append(kind);
        for (var field : fields)
            line.append('\t').append(String.valueOf(field).strip().replaceAll("\\s+", " "));
        out.print(line.append('\n'));
        out.flush();
    }

    /** A report may be cut short anywhere, and is never refused. */
    static Report read(String text) {
        var report = new Report();
        text.lines().filter(line -> !line.isBlank()).forEach(report::add);
        return report;
    }

    private void add(String line) {
        String[] parts = line.split("\t", -1);
        boolean understood = parts[0].equals(MARK)
                && parts.length >= 2
                && switch (parts[1]) {
                    case "step" -> step(parts);
                    case "device" -> device(parts);
                    case "absent" -> absent(parts);
                    case "end" -> end(parts);
                    default -> false;
                };
        if (!understood) others.add(line.strip());
    }

    private boolean step(String[] parts) {
        if (parts.length != 3) return false;
        step = parts[2];
        return true;
    }

    private boolean device(String[] parts) {
        if (parts.length != 2 + FIELDS) return false;
        try {
            devices.add(new Device(
                    Integer.parseInt(parts[2]),
                    parts[3],
                    Integer.parseInt(parts[4]),
                    Integer.parseInt(parts[5]),
                    Integer.parseInt(parts[6]),
                    Long.parseLong(parts[7]),
                    Integer.parseInt(parts[8]),
                    Integer.parseInt(parts[9]),
                    Integer.parseInt(parts[10]),
                    parts[11],
                    parts[12]));
            return true;
        } catch (NumberFormatException e) {
            return false;
        }
    }

    private boolean absent(String[] parts) {
        if (parts.length != 3) return false;
        reason = parts[2];
        return true;
    }

    private boolean end(String[] parts) {
        ended = parts.length == 2;
        return ended;
    }

    /** The answer, if the report has come to its end. */
    Optional<Cuda.Found> answer() {
        if (!ended) return Optional.empty();
        if (reason != null) return Optional.of(new Cuda.Absent(reason));
        return devices.isEmpty() ? Optional.empty() : Optional.of(new Cuda.Present(devices));
    }

    /** The last step that was begun, as part of a sentence: " in cuInit", or nothing. */
    String where() {
        return step.isEmpty() ? "" : " in " + step;
    }

    /** What else was said, as part of a sentence; of a JVM's report on its crash only the signal and the frame. */
    String why() {
        var said = others.stream()
                .filter(line -> !line.startsWith("#") || line.matches("# +(SIG|[CjJvV] +\\[).*"))
                .map(line -> line.replaceFirst("^# +", ""))
                .limit(4)
                .toList();
        return said.isEmpty() ? "" : ": " + String.join("; ", said);
    }
}
