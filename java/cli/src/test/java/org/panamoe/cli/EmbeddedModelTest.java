package org.panamoe.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.panamoe.backend.Backend;
import org.panamoe.backend.Kernels;

class EmbeddedModelTest {
    private static final Path SOURCE = Path.of(
            System.getProperty("panamoe.root"),
            "java/cli/src/main/resources/META-INF/panamoe/models/" + ModelOption.EMBEDDED);

    /** The cache trusts the index, so the index must be right: who changes a file here runs sha256sum again. */
    @Test
    void theIndexNamesEveryFileAndItsHash() throws IOException, NoSuchAlgorithmException {
        var index = new StringBuilder();
        for (Path file : files(SOURCE)) {
            if (file.endsWith("SHA256SUMS")) continue;
            byte[] hash = MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file));
            index.append(HexFormat.of().formatHex(hash))
                    .append("  ")
                    .append(file.getFileName())
                    .append('\n');
        }
        assertThat(Files.readString(SOURCE.resolve("SHA256SUMS"))).isEqualTo(index.toString());
    }

    /** Weights copied to a device, experts routed there, drafts verified: greedy text is that of the CPU. */
    @Test
    void writesTheSameOnTheEmulatedDevice() {
        if (!System.getenv().getOrDefault("PANAMOE_REQUIRE", "").contains("cudaemu"))
            Assumptions.assumeTrue(
                    Backend.find("cudaemu") instanceof Backend.Ready(var kernels) && closed(kernels),
                    "there is no libpanamoe_cudaemu");
        String[] command = {"generate", "Once upon a time", "--temperature", "0", "--max-tokens", "8", "--backend"};
        var expected = Run.good(with(command, "cpu")).out();
        assertThat(Run.good(with(command, "cudaemu")).out()).isEqualTo(expected);
    }

    private static boolean closed(Kernels kernels) {
        kernels.close();
        return true;
    }

    private static String[] with(String[] command, String backend) {
        var whole = Arrays.copyOf(command, command.length + 1);
        whole[command.length] = backend;
        return whole;
    }

    @Test
    void isExtractedWholeAndOnce() throws IOException {
        var folder = ModelOption.embedded();
        for (Path file : files(folder))
            assertThat(file)
                    .hasSameBinaryContentAs(SOURCE.resolve(file.getFileName().toString()));
        assertThat(files(folder)).hasSize(files(SOURCE).size() - 1);
        var written = Files.getLastModifiedTime(folder.resolve("model.safetensors"));
        assertThat(ModelOption.embedded()).isEqualTo(folder);
        assertThat(Files.getLastModifiedTime(folder.resolve("model.safetensors")))
                .isEqualTo(written);
    }

    private static List<Path> files(Path folder) throws IOException {
        try (var files = Files.list(folder)) {
            return files.sorted().toList();
        }
    }
}
