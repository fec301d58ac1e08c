package org.panamoe.lab.placement;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Bad cases: one error that names the field and both sides. */
class CaseReaderTest {
    @TempDir
    private Path folder;

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
                    [[1, 2, 3, 4]]           | 4          | 2 | 1 | 3  | num_gpus: 3 does not divide num_replicas 4
                    [[1, 2, 3, 4], [1, 2]]   | 4          | 2 | 1 | 2  | weight[1]: 2 experts, but weight[0] has 4
                    [[1, 2, 3, 4]]           | 3          | 1 | 1 | 3  | num_replicas: 3, but 4 experts need a slot each
                    [[1, 2, 3, 4]]           | 4          | 3 | 1 | 2  | num_groups: 3 does not divide the experts 4
                    [[1, 2, 3, 4]]           | 6          | 2 | 2 | 3  | num_nodes: 2 does not divide num_gpus 3
                    [[1, -2, 3, 4]]          | 4          | 2 | 1 | 2  | weight[0][1]: -2.0 is not a finite number from 0
                    [[1, 2, NaN, 4]]         | 4          | 2 | 1 | 2  | weight[0][2]: NaN is not a finite number from 0
                    [[1, 2, 1e39, 4]]        | 4          | 2 | 1 | 2  | weight[0][2]: Infinity is not a finite number from 0
                    [[3e38, 3e38]]           | 2          | 2 | 1 | 2  | weight[0]: adds up to more than 32 bits can hold
                    [[1, 2]]                 | 1000000000 | 2 | 1 | 2  | num_replicas: 1000000000 is not in [1, 4096]
                    [[1, 2]]                 | 1e9        | 2 | 1 | 2  | num_replicas: 1.0E9 is not an integer of 32 bits
                    [[1, 2]]                 | 9999999999 | 2 | 1 | 2  | num_replicas: 9999999999 is not an integer of 32 bits
                    [[1, 2]]                 | 2          | 0 | 1 | 2  | num_groups: 0 is not in [1, 2]
                    [[1, 2]]                 | 2          | 2 | 0 | 2  | num_nodes: 0 is not in [1, 2]
                    [[1, 2]]                 | 2          | 2 | 1 | -2 | num_gpus: -2 is not in [1, 2]
                    []                       | 2          | 2 | 1 | 2  | weight: no layers
                    [[]]                     | 2          | 2 | 1 | 2  | weight: no experts
                    [[1, "2"]]               | 2          | 2 | 1 | 2  | weight[0][1]: "2" is not a number
                    [1, 2]                   | 2          | 2 | 1 | 2  | weight[0]: is not a list of numbers
                    7                        | 2          | 2 | 1 | 2  | weight: is not a list of layers
                    [[1, 2]]                 | null       | 2 | 1 | 2  | num_replicas: null is not an integer of 32 bits
                    [[1, 2]]                 | 2          | 2 | 1 | }  | line 1, column
                    """)
    void isRefused(String weight, String replicas, String groups, String nodes, String gpus, String problem)
            throws IOException {
        var file = Files.writeString(
                folder.resolve("case.json"),
                "{\"weight\": %s, \"num_replicas\": %s, \"num_groups\": %s, \"num_nodes\": %s, \"num_gpus\": %s}"
                        .formatted(weight, replicas, groups, nodes, gpus));
        assertThatThrownBy(() -> CaseReader.read(file))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith(file.toString())
                .hasMessageContaining(problem);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
                    [1]                    | not a JSON object
                    {"cases": []}          | cases: none
                    {"cases": [3]}         | cases[0]: not a JSON object
                    {"weight": [[1]]}      | num_replicas: is missing
                    {"weight": [[1]]} {}   | column
                    {"weight": [[1         | column
                    """)
    void isNoCase(String json, String problem) throws IOException {
        var file = Files.writeString(folder.resolve("case.json"), json);
        assertThatThrownBy(() -> CaseReader.read(file))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith(file.toString())
                .hasMessageContaining(problem);
    }
}
