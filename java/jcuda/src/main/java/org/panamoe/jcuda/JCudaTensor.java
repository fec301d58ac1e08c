package org.panamoe.jcuda;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import jcuda.driver.CUdeviceptr;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/** Memory of a device, as JCuda's pointer and as Panamoe's tensor. Neither needs a device, nor loads JCuda's library. */
public final class JCudaTensor {
    private JCudaTensor() {}

    /**
     * A tensor on memory that somebody else owns, and frees after {@code arena} is closed. From then on the tensor
     * refuses to be used.
     *
     * @throws IllegalArgumentException if the pointer is null or not aligned to its elements
     */
    public static Tensor wrap(Arena arena, CUdeviceptr pointer, DType dtype, long... shape) {
        long address = Address.of(pointer);
        var data = MemorySegment.ofAddress(address).reinterpret(0, arena, null);
        var tensor = new Tensor(data, dtype, shape);
        if (address == 0 && tensor.bytes() != 0) throw new IllegalArgumentException("null cannot be " + tensor);
        if (address % dtype.bytes != 0)
            throw new IllegalArgumentException(
                    "%s, not aligned to %d bytes, cannot be %s".formatted(Address.text(address), dtype.bytes, tensor));
        return tensor;
    }

    /**
     * Where a tensor begins. JCuda has no objects that equal each other by address: two pointers that this method
     * returned are always {@code equals}, whatever they point to.
     *
     * @throws IllegalArgumentException if it lies in the memory of the host
     * @throws IllegalStateException if its memory is freed
     */
    public static CUdeviceptr pointer(Tensor tensor) {
        if (!tensor.onDevice() && tensor.bytes() != 0)
            throw new IllegalArgumentException(tensor + " lies in the memory of the host");
        if (!tensor.data.scope().isAlive()) throw new IllegalStateException(tensor + ": its memory is closed");
        return Address.pointer(tensor.data.address());
    }
}
