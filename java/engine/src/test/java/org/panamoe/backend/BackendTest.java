package org.panamoe.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class BackendTest {
    private static final String PROPERTY = "panamoe.library.path";

    private final String before = System.getProperty(PROPERTY, "");

    @AfterEach
    void restore() {
        if (before.isEmpty()) System.clearProperty(PROPERTY);
        else System.setProperty(PROPERTY, before);
    }

    @Test
    void theReferenceIsAlwaysThere() {
        assertThat(Backend.names()).containsExactly("cpu", "cuda", "cudaemu", "reference");
        try (var kernels = Backend.require("reference")) {
            assertThat(kernels.describe()).isEqualTo("backend=reference isa=java threads=1");
        }
    }

    @Test
    void aWrongOptionIsTheCallersMistake() {
        new Variant("cpu", "").open().close();
        assertThatThrownBy(() -> Backend.find("cpu", "threads=0"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("threads=0");
        assertThatThrownBy(() -> Backend.require("cpu", "colour=red"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("colour");
        assertThatThrownBy(() -> Backend.find("cpu", "isa=z80"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("z80")
                .hasMessageContaining("generic");
        assertThatThrownBy(() -> Backend.find("cpu", "threads=1\0isa=z80"))
                .isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> Backend.find("reference", "threads=2"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("reference takes no options: threads=2");
        assertThatThrownBy(() -> Backend.find("../cpu")).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void aBackEndThatIsNotOnTheClassPath() {
        System.clearProperty(PROPERTY);
        assertThat(Backend.find("abacus"))
                .isEqualTo(new Backend.Absent(
                        "there is no META-INF/panamoe/linux-x86_64/libpanamoe_abacus.so on the class path"));
        assertThatThrownBy(() -> Backend.require("abacus"))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageStartingWith("back end abacus: there is no META-INF");
    }

    @Test
    void aFileOrFolderThatIsNotThere(@TempDir Path folder) {
        System.setProperty(PROPERTY, folder.toString());
        assertAbsent("panamoe.library.path: there is no file " + folder.resolve("libpanamoe_cpu.so"));
        System.setProperty(PROPERTY, folder.resolve("nothing.so").toString());
        assertAbsent("panamoe.library.path: there is no file " + folder.resolve("nothing.so"));
    }

    @Test
    void aLibraryForAnotherMachine(@TempDir Path folder) throws IOException {
        byte[] elf = Files.readAllBytes(Path.of(System.getProperty("java.home"), "lib/libjimage.so"));
        elf[18] = (byte) 0xf7; // e_machine: BPF
        var file = Files.write(folder.resolve("libpanamoe_cpu.so"), elf);
        System.setProperty(PROPERTY, folder.toString());
        assertAbsent(file + " cannot be loaded: damaged, for another machine, or a library that it needs is missing");
    }

    @Test
    void aLibraryThatIsNotOurs() {
        System.setProperty(PROPERTY, System.getProperty("java.home") + "/lib/libjimage.so");
        assertAbsent("pm_abi is not in this back end");
    }

    private static void assertAbsent(String reason) {
        assertThat(Backend.find("cpu")).isEqualTo(new Backend.Absent(reason));
    }
}
