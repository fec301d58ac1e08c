package org.panamoe.jcuda;

import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUstream;
import jcuda.driver.JCudaDriver;
import org.panamoe.backend.Backend;
import org.panamoe.backend.Kernels;

/** The cuda back end on a context and a stream that the program has already. */
public final class JCudaBackend {
    private JCudaBackend() {}

    /**
     * Everything is enqueued on {@code stream}, in order with what the program itself enqueues there; nothing waits.
     * Close the kernels before the stream.
     *
     * @param stream a stream of {@code context}; one that was never created is the legacy default stream
     * @param more further options for pm_open, separated by spaces
     * @throws IllegalArgumentException if the stream belongs to another context, or the back end refuses it
     * @throws IllegalStateException if the back end is absent, with the reason
     */
    public static Kernels open(CUcontext context, CUstream stream, String more) {
        try (var _ = new Current(context)) {
            return Backend.require("cuda", (options(context, stream) + " " + more).strip());
        }
    }

    /** With the back end's default options. */
    public static Kernels open(CUcontext context, CUstream stream) {
        return open(context, stream, "");
    }

    /** For pm_open; {@code context} is current. */
    private static String options(CUcontext context, CUstream stream) {
        long handle = Address.of(stream);
        long legacy = Address.of(JCudaDriver.CU_STREAM_LEGACY);
        long perThread = Address.of(JCudaDriver.CU_STREAM_PER_THREAD);
        if (handle == 0) handle = legacy; // by a name that does not mean "none"
        if (handle != legacy && handle != perThread) requireSame(context, stream);
        return "device=%d stream=%s".formatted(index(), Address.text(handle));
    }

    private static void requireSame(CUcontext context, CUstream stream) {
        var owner = new CUcontext();
        Status.check("cuStreamGetCtx", JCudaDriver.cuStreamGetCtx(stream, owner));
        if (Address.of(owner) != Address.of(context))
            throw new IllegalArgumentException("stream %s belongs to context %s, not to %s"
                    .formatted(
                            Address.text(Address.of(stream)),
                            Address.text(Address.of(owner)),
                            Address.text(Address.of(context))));
    }

    /** Number of the device whose context is current. */
    private static int index() {
        var device = new CUdevice();
        Status.check("cuCtxGetDevice", JCudaDriver.cuCtxGetDevice(device));
        int[] count = {0};
        Status.check("cuDeviceGetCount", JCudaDriver.cuDeviceGetCount(count));
        for (int i = 0; i < count[0]; i++) {
            var other = new CUdevice();
            Status.check("cuDeviceGet", JCudaDriver.cuDeviceGet(other, i));
            if (Address.of(other) == Address.of(device)) return i;
        }
        throw new IllegalArgumentException("the context is of none of the %d devices".formatted(count[0]));
    }
}
