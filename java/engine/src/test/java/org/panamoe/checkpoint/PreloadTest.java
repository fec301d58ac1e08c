package org.panamoe.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.panamoe.tensor.QuantFormat;

final class PreloadTest {
    @TempDir
    Path folder;

    /** That is: its pages are in this process's tables, so no step will ask the kernel for one. */
    @Test
    @EnabledOnOs(OS.LINUX)
    void afterwardsTheWholeFileIsResident() throws IOException {
        // A copy, which nothing else in this process maps.
        try (var files = Files.list(Golden.trained())) {
            for (var file : files.toList()) Files.copy(file, folder.resolve(file.getFileName()));
        }
        try (var checkpoint = Checkpoint.open(folder)) {
            long size = Files.size(folder.resolve("model.safetensors")), before = resident();
            assertThat(before).isLessThan(size / 2);
            var names = Collections.synchronizedSet(new HashSet<String>());
            checkpoint.preload(2, names::add);
            assertThat(names).hasSize(checkpoint.mappedWeights()).contains("model.norm.weight");
            assertThat(checkpoint.mappedBytes()).isEqualTo(checkpoint.bytes()).isGreaterThan(size / 2);
            assertThat(resident()).isGreaterThanOrEqualTo(checkpoint.bytes());
        }
    }

    @Test
    void weightsThatWereMadeAreThereAlready() {
        try (var stored = Checkpoint.open(Golden.trained());
                var made = stored.quantized(QuantFormat.INT8, 2, _ -> {})) {
            assertThat(made.mappedWeights()).isBetween(1, stored.mappedWeights() - 1);
            assertThat(made.mappedBytes()).isLessThan(stored.mappedBytes());
            var names = Collections.synchronizedSet(new HashSet<String>());
            made.preload(1, names::add);
            assertThat(names).hasSize(made.mappedWeights()).noneMatch(name -> name.endsWith("q_proj.weight"));
        }
    }

    /** Bytes of the mapped file in this process's page tables. */
    private long resident() throws IOException {
        long bytes = 0;
        boolean ours = false;
        for (var line : Files.readAllLines(Path.of("/proc/self/smaps"))) {
            if (line.matches("[0-9a-f]+-[0-9a-f]+ .*"))
                ours = line.endsWith(
                        folder.toRealPath().resolve("model.safetensors").toString());
            if (ours && line.startsWith("Rss:")) bytes += 1024 * Long.parseLong(line.replaceAll("[^0-9]", ""));
        }
        return bytes;
    }
}
