package org.panamoe.jcuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUstream;
import org.junit.jupiter.api.Test;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/** Pointers are numbers here: JCuda's native library is not loaded, there may be no driver. */
final class JCudaTensorTest {
    @Test
    void aPointerBecomesATensorAndAPointerAgain() {
        try (var arena = Arena.ofConfined()) {
            var x = JCudaTensor.wrap(arena, Address.pointer(0x7f00_0000_1000L), DType.BF16, 4, 8);
            assertThat(x.onDevice()).isTrue();
            assertThat(x.toString()).isEqualTo("BF16[4, 8]");
            assertThat(x.data.address()).isEqualTo(0x7f00_0000_1000L);
            assertThat(Address.of(JCudaTensor.pointer(x))).isEqualTo(0x7f00_0000_1000L);
            assertThat(Address.of(JCudaTensor.pointer(x.rows(3, 4)))).isEqualTo(0x7f00_0000_1000L + 3 * 8 * 2);
            assertThatThrownBy(() -> x.getFloat(0)).isInstanceOf(IndexOutOfBoundsException.class);
        }
    }

    @Test
    void anOffsetCounts() {
        var pointer = Address.pointer(0xff00).withByteOffset(0x80).withByteOffset(0x80);
        assertThat(Address.of(pointer)).isEqualTo(0x10000);
        assertThat(JCudaTensor.wrap(Arena.ofAuto(), pointer, DType.F32, 1).data.address())
                .isEqualTo(0x10000);
    }

    @Test
    void addressesBeyondLongAreAddresses() {
        assertThat(Address.of(Address.pointer(-4096))).isEqualTo(-4096);
        assertThat(Address.text(-4096)).isEqualTo("0xfffffffffffff000");
    }

    @Test
    void itIsOverWhenTheArenaIsClosed() {
        Tensor x;
        try (var arena = Arena.ofConfined()) {
            x = JCudaTensor.wrap(arena, Address.pointer(4096), DType.F32, 2);
        }
        assertThatThrownBy(() -> JCudaTensor.pointer(x))
                .isInstanceOf(IllegalStateException.class)
                .hasMessage("F32[2]: its memory is closed");
    }

    @Test
    void whatCannotBe() {
        try (var arena = Arena.ofConfined()) {
            assertThatThrownBy(() -> JCudaTensor.wrap(arena, new CUdeviceptr(), DType.F32, 2))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("null cannot be F32[2]");
            assertThatThrownBy(() -> JCudaTensor.wrap(arena, Address.pointer(4098), DType.F32, 2))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("0x1002, not aligned to 4 bytes, cannot be F32[2]");
            assertThatThrownBy(() -> JCudaTensor.wrap(arena, Address.pointer(4096), DType.F32, -2))
                    .isInstanceOf(IllegalArgumentException.class);
            assertThatThrownBy(() -> JCudaTensor.pointer(Tensor.of(arena, 1f)))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("F32[1] lies in the memory of the host");
        }
    }

    @Test
    void noRowsMayLieNowhere() {
        try (var arena = Arena.ofConfined()) {
            var none = JCudaTensor.wrap(arena, new CUdeviceptr(), DType.F32, 0, 8);
            assertThat(none.bytes()).isZero();
            assertThat(Address.of(JCudaTensor.pointer(none))).isZero();
        }
    }

    @Test
    void handlesThatWereNotCreatedAreZero() {
        assertThat(Address.of(new CUstream())).isZero();
        assertThat(Address.of(new CUcontext())).isZero();
    }
}
