package org.panamoe.jcuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.abort;

import java.lang.foreign.Arena;
import jcuda.Pointer;
import jcuda.driver.JCudaDriver;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.panamoe.backend.Backend;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/** What only a device can tell. */
final class OnDeviceTest {
    @BeforeAll
    static void requireADevice() {
        RealDriver.devices();
    }

    @Test
    void memoryIsWrittenAndRead() {
        try (var stream = CudaStream.open(0);
                var arena = Arena.ofConfined()) {
            var x = stream.allocate(arena, DType.F32, 4, 2);
            try (var _ = new Current(stream.context)) {
                Status.check(
                        "cuMemcpyHtoD",
                        JCudaDriver.cuMemcpyHtoD(
                                JCudaTensor.pointer(x), Pointer.to(new float[] {1, 2, 3, 4, 5, 6, 7, 8}), 32));
                float[] back = {0, 0};
                Status.check(
                        "cuMemcpyDtoH",
                        JCudaDriver.cuMemcpyDtoH(Pointer.to(back), JCudaTensor.pointer(x.rows(2, 3)), 8));
                assertThat(back).containsExactly(5, 6);
            }
        }
    }

    /** 256 MB are written at less than 20 TB/s. */
    @Test
    void timeIsTheDevices() {
        try (var stream = CudaStream.open(0);
                var timer = stream.timer();
                var arena = Arena.ofConfined()) {
            var x = stream.allocate(arena, DType.U8, 1 << 28);
            try (var _ = new Current(stream.context)) {
                timer.start();
                Status.check(
                        "cuMemsetD8Async",
                        JCudaDriver.cuMemsetD8Async(JCudaTensor.pointer(x), (byte) 1, x.bytes(), stream.stream));
                timer.stop();
            }
            assertThat(timer.seconds()).isBetween(13e-6, 1.0);
        }
    }

    @Test
    void theBackEndRunsOnOurStream() {
        if (Backend.find("cuda") instanceof Backend.Absent(var reason)) abort("back end cuda: " + reason);
        try (var stream = CudaStream.open(0);
                var kernels = stream.kernels();
                var arena = Arena.ofConfined()) {
            var x = stream.allocate(arena, DType.F32, 2, 2);
            kernels.copy(x, Tensor.of(arena, 1, 2, 3, 4f).as(2, 2));
            var y = stream.allocate(arena, DType.F32, 2, 2);
            kernels.copy(y, Tensor.of(arena, 10, 20, 30, 40f).as(2, 2));
            kernels.add(y, x);
            var back = Tensor.allocate(arena, DType.F32, 2, 2);
            kernels.copy(back, y);
            assertThat(back.getFloat(0)).isEqualTo(11);
            assertThat(back.getFloat(3)).isEqualTo(44);
        }
    }
}
