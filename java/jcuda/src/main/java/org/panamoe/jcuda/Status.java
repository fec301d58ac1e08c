package org.panamoe.jcuda;

import jcuda.CudaException;
import jcuda.driver.CUresult;

/** What the functions of the driver return. */
final class Status {
    private Status() {}

    /** JCuda can throw by itself, but for all who use it in this process or for none: that is not ours to switch. */
    static void check(String function, int status) {
        if (status != CUresult.CUDA_SUCCESS)
            throw new CudaException("%s: %s (%d)".formatted(function, CUresult.stringFor(status), status));
    }
}
