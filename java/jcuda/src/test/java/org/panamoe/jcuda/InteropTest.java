package org.panamoe.jcuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUfunction;
import jcuda.driver.CUstream;
import jcuda.driver.JCudaDriver;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.panamoe.tensor.DType;

/** JCuda's native code takes our pointers, and we its handles: in a JVM of its own, upon the fake driver. */
final class InteropTest {
    @TempDir
    private Path folder;

    @Test
    void uponAFakeDriver() throws IOException, InterruptedException {
        FakeDriver.compile(folder);
        FakeDriver.compileBackend(folder);
        var options = List.of(
                "--enable-native-access=ALL-UNNAMED",
                "-Djava.io.tmpdir=" + folder,
                "-Dpanamoe.library.path=" + folder,
                "-cp",
                Jvm.CLASS_PATH);
        assertThat(Jvm.run(FakeDriver.environment(folder, ""), options, Program.class))
                .isEqualTo("done\n");
    }

    static final class Program {
        public static void main(String[] args) throws InterruptedException {
            try (var first = CudaStream.open(0);
                    var second = CudaStream.open(1)) {
                memory(first);
                time(first);
                backend(first, second);
                refusals(first, second);
            }
            var gone = new CUcontext();
            JCudaDriver.cuCtxGetCurrent(gone);
            assertThat(Address.of(gone)).as("a context left current").isZero();
            System.out.println("done");
        }

        /** Written by JCuda at our address, read by JCuda from its own, and given to a kernel. */
        private static void memory(CudaStream stream) {
            try (var arena = Arena.ofConfined()) {
                var x = stream.allocate(arena, DType.F32, 3, 2);
                assertThat(x.onDevice()).isTrue();
                assertThat(x.data.address() % 256).isZero();
                check(JCudaDriver.cuMemcpyHtoD(
                        JCudaTensor.pointer(x), Pointer.to(new float[] {1, 2, 3, 4, 5, 6}), x.bytes()));
                var last = JCudaTensor.pointer(x.rows(2, 3));
                assertThat(read(last, 2)).containsExactly(5, 6);
                check(JCudaDriver.cuLaunchKernel(
                        new CUfunction(), 1, 1, 1, 1, 1, 1, 0, stream.stream, Pointer.to(Pointer.to(last)), null));
                assertThat(read(last, 2)).containsExactly(10, 6);

                var own = new CUdeviceptr();
                try (var _ = new Current(stream.context)) {
                    check(JCudaDriver.cuMemAlloc(own, 64));
                }
                var wrapped = JCudaTensor.wrap(arena, own.withByteOffset(16), DType.F32, 4);
                check(JCudaDriver.cuMemcpyHtoD(
                        JCudaTensor.pointer(wrapped), Pointer.to(new float[] {7, 8, 9, 10}), wrapped.bytes()));
                assertThat(read(own.withByteOffset(20), 2)).containsExactly(8, 9);
                try (var _ = new Current(stream.context)) {
                    check(JCudaDriver.cuMemFree(own));
                }

                assertThatThrownBy(stream::close)
                        .isInstanceOf(IllegalStateException.class)
                        .hasMessage("close: 24 bytes are still allocated");
            }
        }

        private static void time(CudaStream stream) throws InterruptedException {
            try (var timer = stream.timer()) {
                timer.start();
                Thread.sleep(20);
                timer.stop();
                assertThat(timer.seconds()).isBetween(0.019, 10.0);
                timer.start();
                timer.stop();
                assertThat(timer.seconds()).isBetween(0.0, 0.019);
            }
            stream.synchronize();
        }

        private static void backend(CudaStream first, CudaStream second) {
            for (var stream : List.of(first, second)) {
                int device = stream == first ? 0 : 1;
                try (var kernels = stream.kernels()) {
                    assertThat(kernels.describe())
                            .isEqualTo("device=%d stream=%s current=%d"
                                    .formatted(device, Address.text(Address.of(stream.stream)), device));
                }
            }
            for (var stream : List.of(new CUstream(), JCudaDriver.CU_STREAM_LEGACY))
                try (var kernels = JCudaBackend.open(second.context, stream)) {
                    assertThat(kernels.describe()).isEqualTo("device=1 stream=0x1 current=1");
                }
            try (var kernels = JCudaBackend.open(first.context, JCudaDriver.CU_STREAM_PER_THREAD)) {
                assertThat(kernels.describe()).isEqualTo("device=0 stream=0x2 current=0");
            }
        }

        private static void refusals(CudaStream first, CudaStream second) {
            assertThatThrownBy(() -> JCudaBackend.open(first.context, second.stream))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageMatching("stream 0x[0-9a-f]+ belongs to context 0x[0-9a-f]+, not to 0x[0-9a-f]+");
            assertThatThrownBy(() -> JCudaBackend.open(new CUcontext(), first.stream))
                    .isInstanceOf(jcuda.CudaException.class)
                    .hasMessage("cuCtxPushCurrent: CUDA_ERROR_INVALID_CONTEXT (201)");
            assertThatThrownBy(() -> CudaStream.open(2))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessage("CUDA: there is no device 2, there are 2");
        }

        private static float[] read(CUdeviceptr from, int count) {
            float[] values = new float[count];
            check(JCudaDriver.cuMemcpyDtoH(Pointer.to(values), from, 4L * count));
            return values;
        }

        private static void check(int status) {
            Status.check("JCuda", status);
        }
    }
}
