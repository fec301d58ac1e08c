package org.panamoe.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.panamoe.tensor.QuantFormat;

class PreloadTest {
    @Test
    void changesNothingButWhenWeightsAreRead() {
        String[] plain = {"generate", "Once upon a time", "--max-tokens", "5", "--seed", "3"};
        String[] first = {"generate", "Once upon a time", "--max-tokens", "5", "--seed", "3", "--preload"};
        assertThat(Run.good(first).out()).isEqualTo(Run.good(plain).out()).isNotBlank();
    }

    @ParameterizedTest
    @ValueSource(strings = {"generate", "logits", "perplexity", "trace"})
    void eachCommandThatLoadsAModelHasIt(String command) {
        assertThat(Run.good(command, "--help").out()).contains("--preload").contains("Read all weights before");
    }

    @Test
    void weightsThatWouldDriveEachOtherOutAreRefused() {
        assertThatThrownBy(() -> WeightsOption.requireRoom(671_000_000_000L, 64_000_000_000L))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("--preload: the weights take 671 GB, 64.0 GB of memory are available");
        assertThatCode(() -> WeightsOption.requireRoom(64_000_000_000L, 64_000_000_000L))
                .doesNotThrowAnyException();
    }

    @Test
    void aCopyThatDoesNotFitIsRefused() {
        assertThatThrownBy(() -> WeightsOption.requireRoom(QuantFormat.INT8, 755_000_000_000L, 64_000_000_000L))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("--weights int8: their copy takes 755 GB, 64.0 GB of memory are available");
        assertThatCode(() -> WeightsOption.requireRoom(QuantFormat.INT4, 64_000_000_000L, 64_000_000_000L))
                .doesNotThrowAnyException();
    }

    @Test
    void aDeviceIsRefusedBeforeAnythingIsLoaded() {
        assertThat(Run.refusal(2, "generate", "Once", "--preload", "--backend", "cudaemu"))
                .contains("--preload is for the back ends cpu and reference, not for cudaemu");
    }
}
