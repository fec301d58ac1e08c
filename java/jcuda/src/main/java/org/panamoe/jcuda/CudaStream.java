package org.panamoe.jcuda;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.AtomicLong;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUstream;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;
import org.panamoe.backend.Kernels;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/** The primary context of a device, which it shares with everything built on the CUDA runtime, and a stream in it. */
public final class CudaStream implements AutoCloseable {
    public final CUcontext context = new CUcontext();
    public final CUstream stream = new CUstream();
    private final CUdevice device = new CUdevice();
    private final AtomicLong allocated = new AtomicLong();

    private CudaStream(int index) {
        Status.check("cuInit", JCudaDriver.cuInit(0));
        Status.check("cuDeviceGet", JCudaDriver.cuDeviceGet(device, index));
        Status.check("cuDevicePrimaryCtxRetain", JCudaDriver.cuDevicePrimaryCtxRetain(context, device));
        try (var _ = new Current(context)) {
            Status.check("cuStreamCreate", JCudaDriver.cuStreamCreate(stream, CUstream_flags.CU_STREAM_NON_BLOCKING));
        } catch (RuntimeException e) {
            JCudaDriver.cuDevicePrimaryCtxRelease(device);
            throw e;
        }
    }

    /**
     * Probes first.
     *
     * @throws IllegalStateException if there is no such device, with the reason
     */
    public static CudaStream open(int index) {
        var devices = Cuda.require();
        if (index < 0 || index >= devices.size())
            throw new IllegalStateException(
                    "CUDA: there is no device %d, there are %d".formatted(index, devices.size()));
        return new CudaStream(index);
    }

    /** The cuda back end on this stream, with its default options. */
    public Kernels kernels() {
        return kernels("");
    }

    /** @param options further ones for pm_open: {@code math=tensor} */
    public Kernels kernels(String options) {
        return JCudaBackend.open(context, stream, options);
    }

    public EventTimer timer() {
        return new EventTimer(stream);
    }

    /** Memory of JCuda's, not zeroed, aligned to 256 bytes; freed when {@code arena} closes, which waits for the device. */
    public Tensor allocate(Arena arena, DType dtype, long... shape) {
        long bytes = Tensor.bytes(dtype, shape);
        var pointer = new CUdeviceptr();
        try (var _ = new Current(context)) {
            Status.check("cuMemAlloc", JCudaDriver.cuMemAlloc(pointer, Math.max(bytes, 1)));
        }
        allocated.addAndGet(bytes);
        try {
            var data = MemorySegment.ofAddress(Address.of(pointer)).reinterpret(0, arena, _ -> free(pointer, bytes));
            return new Tensor(data, dtype, shape);
        } catch (RuntimeException e) { // the arena is closed, or belongs to another thread
            free(pointer, bytes);
            throw e;
        }
    }

    private void free(CUdeviceptr pointer, long bytes) {
        try (var _ = new Current(context)) {
            Status.check("cuMemFree", JCudaDriver.cuMemFree(pointer));
        }
        allocated.addAndGet(-bytes);
    }

    /** Waits for everything enqueued so far. */
    public void synchronize() {
        try (var _ = new Current(context)) {
            Status.check("cuStreamSynchronize", JCudaDriver.cuStreamSynchronize(stream));
        }
    }

    /** @throws IllegalStateException if memory of it is still in use */
    @Override
    public void close() {
        if (allocated.get() != 0)
            throw new IllegalStateException("close: %d bytes are still allocated".formatted(allocated.get()));
        int status;
        try (var _ = new Current(context)) {
            status = JCudaDriver.cuStreamDestroy(stream);
        }
        int released = JCudaDriver.cuDevicePrimaryCtxRelease(device);
        Status.check("cuStreamDestroy", status);
        Status.check("cuDevicePrimaryCtxRelease", released);
    }
}
