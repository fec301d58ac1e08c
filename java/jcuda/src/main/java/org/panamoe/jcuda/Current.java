package org.panamoe.jcuda;

import jcuda.driver.CUcontext;
import jcuda.driver.JCudaDriver;

/** Makes a context that of this thread, until closed. */
final class Current implements AutoCloseable {
    Current(CUcontext context) {
        Status.check("cuCtxPushCurrent", JCudaDriver.cuCtxPushCurrent(context));
    }

    @Override
    public void close() {
        Status.check("cuCtxPopCurrent", JCudaDriver.cuCtxPopCurrent(new CUcontext()));
    }
}
