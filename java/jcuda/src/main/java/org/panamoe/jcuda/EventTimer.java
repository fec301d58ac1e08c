package org.panamoe.jcuda;

import jcuda.driver.CUcontext;
import jcuda.driver.CUevent;
import jcuda.driver.CUevent_flags;
import jcuda.driver.CUstream;
import jcuda.driver.JCudaDriver;

/**
 * Time between two points of a stream, by the device's clock, in steps of about half a microsecond. Both points are
 * enqueued like the work between them: what the host takes to launch it counts only where the device waits for it.
 */
public final class EventTimer implements AutoCloseable {
    private final CUcontext context = new CUcontext();
    private final CUstream stream;
    private final CUevent start = new CUevent();
    private final CUevent stop = new CUevent();

    /** @param stream for the default stream, its context must be current */
    public EventTimer(CUstream stream) {
        this.stream = stream;
        Status.check("cuStreamGetCtx", JCudaDriver.cuStreamGetCtx(stream, context));
        try (var _ = new Current(context)) {
            Status.check("cuEventCreate", JCudaDriver.cuEventCreate(start, CUevent_flags.CU_EVENT_DEFAULT));
            int status = JCudaDriver.cuEventCreate(stop, CUevent_flags.CU_EVENT_DEFAULT);
            if (status != 0) JCudaDriver.cuEventDestroy(start);
            Status.check("cuEventCreate", status);
        }
    }

    /** Enqueues the first point; another call moves it. */
    public void start() {
        record(start);
    }

    /** Enqueues the second point; another call moves it. */
    public void stop() {
        record(stop);
    }

    /** Waits until the device has passed the second point. */
    public double seconds() {
        try (var _ = new Current(context)) {
            float[] milliseconds = {0};
            Status.check("cuEventSynchronize", JCudaDriver.cuEventSynchronize(stop));
            Status.check("cuEventElapsedTime", JCudaDriver.cuEventElapsedTime(milliseconds, start, stop));
            return milliseconds[0] / 1e3;
        }
    }

    @Override
    public void close() {
        try (var _ = new Current(context)) {
            int first = JCudaDriver.cuEventDestroy(start), second = JCudaDriver.cuEventDestroy(stop);
            Status.check("cuEventDestroy", first != 0 ? first : second);
        }
    }

    private void record(CUevent event) {
        try (var _ = new Current(context)) {
            Status.check("cuEventRecord", JCudaDriver.cuEventRecord(event, stream));
        }
    }
}
