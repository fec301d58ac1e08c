package org.panamoe.backend;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.panamoe.tensor.QuantFormat;

/** The C header is the truth: every function in it is bound, with its own types and in its order, and nothing else is. */
final class HeaderTest {
    private static final Pattern PROTOTYPE =
            Pattern.compile("^PM_API ([\\w ]+?[ *]+)(pm_\\w+)\\(([^)]*)\\);", Pattern.MULTILINE);
    private static final Pattern ENUM = Pattern.compile("^enum (pm_\\w+) \\{([^}]*)\\};", Pattern.MULTILINE);

    private final String header = read();
    private final Header bound = new Header(name -> Optional.empty());

    @Test
    void everyFunctionIsBoundAsTheHeaderDeclaresIt() {
        var declared = new LinkedHashMap<String, FunctionDescriptor>();
        var prototype = PROTOTYPE.matcher(header);
        while (prototype.find()) declared.put(prototype.group(2), descriptor(prototype.group(1), prototype.group(3)));
        // A prototype that the pattern above does not understand must not be passed over.
        assertThat(declared).hasSize(header.split("\\nPM_API ", -1).length - 1).hasSizeGreaterThan(20);
        assertThat(bound.bound).containsExactlyEntriesOf(declared);
    }

    @Test
    void everyFunctionOfTheModelIsAMethodOfKernels() {
        var methods =
                Arrays.stream(Kernels.class.getMethods()).map(m -> m.getName()).toList();
        // pm_measure is three methods; the others are what NativeKernels is made of.
        var inside = List.of("abi", "open", "error", "memory", "free", "measure");
        for (var name : bound.bound.keySet())
            if (!inside.contains(name.substring(3))) assertThat(methods).contains(camelCase(name.substring(3)));
    }

    @Test
    void idsAreThoseOfTheHeader() {
        var enums = new TreeMap<String, Map<String, Integer>>();
        var declaration = ENUM.matcher(header);
        while (declaration.find()) {
            var ids = new LinkedHashMap<String, Integer>();
            for (var constant : declaration.group(2).split(",", -1))
                ids.put(constant.split("=", -1)[0].strip(), Integer.valueOf(constant.split("=", -1)[1].strip()));
            enums.put(declaration.group(1), ids);
        }
        var formats = new LinkedHashMap<String, Integer>();
        for (var format : QuantFormat.values()) formats.put("PM_W_" + format, format.id);
        assertThat(enums)
                .containsOnly(
                        Map.entry("pm_status", Map.of("PM_OK", Header.OK, "PM_FAILED", 1)),
                        Map.entry("pm_type", Map.of("PM_F32", Header.F32)),
                        Map.entry("pm_format", formats),
                        Map.entry(
                                "pm_cache",
                                Map.of("PM_CACHE_F32", Header.CACHE_F32, "PM_CACHE_BF16", Header.CACHE_BF16)),
                        Map.entry(
                                "pm_scoring",
                                Map.of("PM_SIGMOID", Scoring.SIGMOID.id, "PM_SOFTMAX", Scoring.SOFTMAX.id)),
                        Map.entry("pm_place", Map.of("PM_HOST", 0, "PM_DEVICE", Header.DEVICE)),
                        Map.entry(
                                "pm_quantity",
                                Map.of(
                                        "PM_READ_BANDWIDTH",
                                        Header.READ_BANDWIDTH,
                                        "PM_FMA_RATE",
                                        Header.FMA_RATE,
                                        "PM_INT8_RATE",
                                        Header.INT8_RATE)));
        assertThat(header).contains("#define PM_ABI " + Header.ABI + "\n");
    }

    @Test
    void aFunctionThatALibraryLacksThrowsWhenCalled() {
        assertThatThrownBy(() -> {
                    int abi = (int) bound.abi.invokeExact();
                    assertThat(abi).isEqualTo(Header.ABI);
                })
                .isInstanceOf(KernelException.class)
                .hasMessage("pm_abi is not in this back end")
                .satisfies(e -> assertThat(e.getStackTrace())
                        .anyMatch(frame -> frame.getMethodName().contains("aFunctionThatALibraryLacks")));
    }

    private static FunctionDescriptor descriptor(String result, String parameters) {
        var layouts = parameters.equals("void")
                ? new MemoryLayout[0]
                : Arrays.stream(parameters.split(",", -1))
                        .map(HeaderTest::layout)
                        .toArray(MemoryLayout[]::new);
        return result.strip().equals("void")
                ? FunctionDescriptor.ofVoid(layouts)
                : FunctionDescriptor.of(layout(result), layouts);
    }

    /** Pointers and three numbers: what every language can call. */
    private static MemoryLayout layout(String declaration) {
        if (declaration.contains("*")) return ADDRESS;
        return switch (declaration.strip().split("\\s+", -1)[0]) {
            case "int32_t" -> JAVA_INT;
            case "int64_t" -> JAVA_LONG;
            case "float" -> JAVA_FLOAT;
            default -> throw new AssertionError("the boundary has no type like: " + declaration);
        };
    }

    private static String camelCase(String name) {
        return Pattern.compile("_(.)").matcher(name).replaceAll(m -> m.group(1).toUpperCase(java.util.Locale.ROOT));
    }

    private static String read() {
        try {
            return Files.readString(Path.of(System.getProperty("panamoe.root"), "native/include/panamoe.h"));
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }
}
