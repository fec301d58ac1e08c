package org.panamoe.jcuda;

import jcuda.NativePointerObject;
import jcuda.driver.CUdeviceptr;

/**
 * The numbers within JCuda's objects. JCuda keeps them from its users, but not from its heirs: each class here inherits
 * a copy of an object and with it the right to read it. Nothing of this loads JCuda's native library.
 */
final class Address {
    private Address() {}

    /** A handle: the value of a CUstream, a CUcontext, a CUevent. */
    static long of(NativePointerObject handle) {
        return new Handle(handle).value();
    }

    static long of(CUdeviceptr pointer) {
        return new Pointer(pointer).value();
    }

    static CUdeviceptr pointer(long address) {
        // The only way in: from null, that many bytes on. JCuda's native code always adds the two.
        return new CUdeviceptr().withByteOffset(address);
    }

    static String text(long address) {
        return "0x" + Long.toHexString(address);
    }

    private static final class Handle extends NativePointerObject {
        Handle(NativePointerObject other) {
            super(other);
        }

        long value() {
            return getNativePointer();
        }
    }

    private static final class Pointer extends CUdeviceptr {
        Pointer(CUdeviceptr other) {
            super(other);
        }

        long value() {
            return getNativePointer() + getByteOffset();
        }
    }
}
