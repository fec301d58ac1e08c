package org.panamoe.backend;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/**
 * What the binding makes of memory that Java cannot read. The device here is this process: a library of a few functions
 * written in Java, whose memory counts as a device's.
 */
final class DeviceTest {
    private final Arena arena = Arena.ofConfined();
    private final Device device = new Device(arena);

    @AfterEach
    void free() {
        arena.close();
    }

    @Test
    void deviceMemoryIsPassedOnAndNeverRead() {
        try (var kernels = new NativeKernels(device, "");
                var local = Arena.ofConfined()) {
            var there = kernels.allocate(local, DType.F32, 3, 2);
            assertThat(there.onDevice()).isTrue();
            assertThat(there.data.byteSize()).isZero();
            assertThatThrownBy(() -> there.getFloat(0)).isInstanceOf(IndexOutOfBoundsException.class);

            kernels.copy(there, Tensor.of(local, 1, 2, 3, 4, 5, 6f).as(3, 2));
            // Rows are addresses, too.
            var back = Tensor.allocate(local, DType.F32, 2, 2);
            kernels.copy(back, there.rows(1, 3));
            assertThat(new float[] {back.getFloat(0), back.getFloat(3)}).containsExactly(3, 6);

            // A copy has its sides anywhere; everything else computes where the memory of the back end lies.
            assertThatThrownBy(() -> kernels.add(there.rows(0, 2), back))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("add: x_TD is F32[2, 2] in the memory of the host,"
                            + " this back end computes in that of a device");
        }
    }

    @Test
    void deviceMemoryEndsWithItsArena() {
        try (var kernels = new NativeKernels(device, "")) {
            Tensor whole, rows;
            try (var local = Arena.ofConfined()) {
                whole = kernels.allocate(local, DType.F32, 4, 2);
                rows = whole.rows(1, 2);
                assertThat(kernels.allocated()).isEqualTo(32);
            }
            assertThat(kernels.allocated()).isZero();
            for (var gone : new Tensor[] {whole, rows})
                assertThatThrownBy(() -> kernels.copy(gone, gone))
                        .isInstanceOf(IllegalStateException.class)
                        .hasMessageEndingWith("whose memory is closed");
        }
    }

    @Test
    void whatTheDeviceLacksSaysSoWhenCalled() {
        try (var kernels = new NativeKernels(device, "");
                var local = Arena.ofConfined()) {
            var x = kernels.allocate(local, DType.F32, 1, 2);
            var y = kernels.allocate(local, DType.F32, 1, 2);
            assertThatThrownBy(() -> kernels.add(y, x))
                    .isInstanceOf(KernelException.class)
                    .hasMessage("pm_add is not in this back end");
            kernels.synchronize(); // and goes on working
        }
    }

    @Test
    void aStaleLibraryIsRefusedBeforeItIsCalled() {
        device.abi = Header.ABI + 1;
        assertThatThrownBy(() -> new NativeKernels(device, ""))
                .isInstanceOf(KernelException.class)
                .hasMessage("the library has ABI %d, Java has %d", Header.ABI + 1, Header.ABI);
    }

    @Test
    void whyItCannotOpen() {
        device.broken = true;
        assertThatThrownBy(() -> new NativeKernels(device, ""))
                .isInstanceOf(KernelException.class)
                .hasMessage("open: no device is plugged in");
        assertThat(device.opened).as("contexts that were not closed").isZero();
    }

    /** Functions of panamoe.h, in Java. */
    static final class Device implements SymbolLookup {
        int abi = Header.ABI;
        boolean broken;
        int opened;
        private long bytes;
        private final Arena arena;
        private final MemorySegment context;
        private final Map<Long, Long> allocations = new HashMap<>();
        private final Map<String, MemorySegment> functions = new HashMap<>();

        Device(Arena arena) {
            this.arena = arena;
            context = arena.allocate(1);
            var declared = new Header(name -> Optional.empty()).bound;
            for (var method : Device.class.getDeclaredMethods()) {
                var descriptor = declared.get(method.getName());
                if (descriptor == null) continue;
                try {
                    MethodHandle function =
                            MethodHandles.lookup().unreflect(method).bindTo(this);
                    functions.put(method.getName(), Linker.nativeLinker().upcallStub(function, descriptor, arena));
                } catch (IllegalAccessException e) {
                    throw new AssertionError(e);
                }
            }
        }

        @Override
        public Optional<MemorySegment> find(String name) {
            return Optional.ofNullable(functions.get(name));
        }

        int pm_abi() {
            return abi;
        }

        int pm_open(MemorySegment out, MemorySegment options) {
            out.reinterpret(ADDRESS.byteSize()).set(ADDRESS, 0, context);
            opened++;
            return broken ? 1 : Header.OK;
        }

        void pm_close(MemorySegment ctx) {
            opened--;
        }

        MemorySegment pm_error(MemorySegment ctx) {
            return arena.allocateFrom("open: no device is plugged in");
        }

        MemorySegment pm_describe(MemorySegment ctx) {
            return arena.allocateFrom("backend=here");
        }

        int pm_memory(MemorySegment ctx) {
            return Header.DEVICE;
        }

        int pm_allocate(MemorySegment ctx, MemorySegment out, long size) {
            var data = arena.allocate(size, 64);
            allocations.put(data.address(), size);
            bytes += size;
            out.reinterpret(ADDRESS.byteSize()).set(ADDRESS, 0, data);
            return Header.OK;
        }

        int pm_free(MemorySegment ctx, MemorySegment data) {
            bytes -= Objects.requireNonNull(allocations.remove(data.address()));
            return Header.OK;
        }

        long pm_allocated(MemorySegment ctx) {
            return bytes;
        }

        int pm_copy(MemorySegment ctx, MemorySegment to, MemorySegment from, long size) {
            to.reinterpret(size).copyFrom(from.reinterpret(size));
            return Header.OK;
        }

        int pm_synchronize(MemorySegment ctx) {
            return Header.OK;
        }
    }
}
