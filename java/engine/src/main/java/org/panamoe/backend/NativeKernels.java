package org.panamoe.backend;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.ref.Reference;
import org.jspecify.annotations.Nullable;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/** Kernels of any library that exports panamoe.h. */
final class NativeKernels implements Kernels {
    private final Header pm;
    private final OneCaller caller = new OneCaller();
    private final MemorySegment context;
    private final String description;
    private final boolean device;
    private final Contract contract;

    /** @throws KernelException if the library has another ABI or refuses the options */
    NativeKernels(SymbolLookup library, String options) {
        pm = new Header(library);
        int abi = value(() -> (int) pm.abi.invokeExact());
        if (abi != Header.ABI)
            throw new KernelException("the library has ABI %d, Java has %d".formatted(abi, Header.ABI));
        context = open(options);
        try {
            description = Header.text(value(() -> (MemorySegment) pm.describe.invokeExact(context)));
            device = value(() -> (int) pm.memory.invokeExact(context)) == Header.DEVICE;
            contract = new Contract(device);
        } catch (RuntimeException | Error e) {
            close(context);
            throw e;
        }
    }

    @Override
    public String describe() {
        return description;
    }

    @Override
    public Tensor allocate(Arena arena, DType dtype, long... shape) {
        long bytes = Tensor.bytes(dtype, shape);
        var data = address(bytes);
        try {
            return new Tensor(data.reinterpret(device ? 0 : bytes, arena, this::free), dtype, shape);
        } catch (RuntimeException e) { // the arena is closed, or belongs to another thread
            free(data);
            throw e;
        }
    }

    @Override
    public long allocated() {
        caller.enter("allocated");
        try {
            return bytesAllocated();
        } finally {
            caller.leave();
        }
    }

    @Override
    public void copy(Tensor to, Tensor from) {
        caller.enter("copy");
        try {
            contract.copy(to, from);
            check((int) pm.copy.invokeExact(context, to.data, from.data, to.bytes()));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
        }
    }

    @Override
    public boolean onDevice() {
        return device;
    }

    @Override
    public DType latentType() {
        return describe().contains("math=tensor") ? DType.BF16 : DType.F32;
    }

    @Override
    public void synchronize() {
        call("synchronize", () -> (int) pm.synchronize.invokeExact(context));
    }

    @Override
    public float readBandwidth() {
        return measure("readBandwidth", Header.READ_BANDWIDTH);
    }

    @Override
    public float fmaRate() {
        return measure("fmaRate", Header.FMA_RATE);
    }

    @Override
    public float int8Rate() {
        return measure("int8Rate", Header.INT8_RATE);
    }

    @Override
    public void rmsNorm(Tensor y_TD, Tensor x_TD, Weight w_D, float eps) {
        caller.enter("rmsNorm");
        try {
            var c = contract.rmsNorm(y_TD, x_TD, w_D);
            int T = c.of('T'), D = c.of('D');
            check((int) pm.rmsNorm.invokeExact(
                    context, y_TD.data, x_TD.data, Header.F32, w_D.data().data, w_D.format().id, T, D, eps));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
        }
    }

    @Override
    public void gemm(Tensor y_TF, Tensor x_TD, Weight w_FD) {
        caller.enter("gemm");
        try {
            var c = contract.gemm(y_TF, x_TD, w_FD);
            int T = c.of('T'), D = c.of('D'), F = c.of('F');
            check((int) pm.gemm.invokeExact(
                    context,
                    y_TF.data,
                    x_TD.data,
                    Header.F32,
                    w_FD.data().data,
                    data(w_FD.scale()),
                    w_FD.format().id,
                    T,
                    D,
                    F));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
        }
    }

    @Override
    public void groupedGemm(Tensor y_NF, Tensor x_ND, ExpertTable w_E, Tensor offset_E1) {
        caller.enter("groupedGemm");
        try {
            var c = contract.groupedGemm(y_NF, x_ND, w_E, offset_E1);
            int N = c.of('N'), D = c.of('D'), F = c.of('F'), E = c.of('E');
            check((int) pm.groupedGemm.invokeExact(
                    context,
                    y_NF.data,
                    x_ND.data,
                    Header.F32,
                    w_E.address_E.data,
                    data(w_E.scaleAddress_E),
                    w_E.format().id,
                    offset_E1.data,
                    N,
                    D,
                    F,
                    E));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
            // The call holds the tables, but these hold mere addresses: an automatic arena could free the experts.
            Reference.reachabilityFence(w_E);
        }
    }

    @Override
    public void groupedSwiglu(
            Tensor y_NF,
            Tensor x_TD,
            ExpertTable gate_E,
            ExpertTable up_E,
            Tensor offset_E1,
            @Nullable Tensor token_N) {
        caller.enter("groupedSwiglu");
        try {
            var c = contract.groupedSwiglu(y_NF, x_TD, gate_E, up_E, offset_E1, token_N);
            int N = c.of('N'), T = c.of('T'), D = c.of('D'), F = c.of('F'), E = c.of('E');
            check((int) pm.groupedSwiglu.invokeExact(
                    context,
                    y_NF.data,
                    x_TD.data,
                    Header.F32,
                    gate_E.address_E.data,
                    data(gate_E.scaleAddress_E),
                    up_E.address_E.data,
                    data(up_E.scaleAddress_E),
                    gate_E.format().id,
                    offset_E1.data,
                    data(token_N),
                    N,
                    T,
                    D,
                    F,
                    E));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
            Reference.reachabilityFence(gate_E);
            Reference.reachabilityFence(up_E);
        }
    }

    @Override
    public void groupedCombine(
            Tensor y_TD,
            Tensor x_NF,
            ExpertTable w_E,
            Tensor offset_E1,
            @Nullable Tensor token_N,
            @Nullable Tensor weight_N) {
        caller.enter("groupedCombine");
        try {
            var c = contract.groupedCombine(y_TD, x_NF, w_E, offset_E1, token_N, weight_N);
            int N = c.of('N'), T = c.of('T'), D = c.of('D'), F = c.of('F'), E = c.of('E');
            check((int) pm.groupedCombine.invokeExact(
                    context,
                    y_TD.data,
                    x_NF.data,
                    Header.F32,
                    w_E.address_E.data,
                    data(w_E.scaleAddress_E),
                    w_E.format().id,
                    offset_E1.data,
                    data(token_N),
                    data(weight_N),
                    N,
                    T,
                    D,
                    F,
                    E));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
            Reference.reachabilityFence(w_E);
        }
    }

    @Override
    public void mlaQuery(Tensor q_THX, Tensor q_THPR, Weight kvB, Tensor position_T, Rope rope) {
        caller.enter("mlaQuery");
        try {
            var c = contract.mlaQuery(q_THX, q_THPR, kvB, position_T, rope);
            int T = c.of('T'), H = c.of('H'), P = c.of('P'), U = c.of('U'), C = c.of('C'), R = c.of('R'), S = c.of('S');
            check((int) pm.mlaQuery.invokeExact(
                    context,
                    q_THX.data,
                    q_THPR.data,
                    Header.F32,
                    kvB.data().data,
                    data(kvB.scale()),
                    kvB.format().id,
                    position_T.data,
                    rope.cos_SZ().data,
                    rope.sin_SZ().data,
                    T,
                    H,
                    P,
                    U,
                    C,
                    R,
                    S));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
        }
    }

    @Override
    public void latentAppend(LatentPages pages, Tensor kv_TX, Weight norm_C, float eps, Rows rows, Rope rope) {
        caller.enter("latentAppend");
        try {
            var c = contract.latentAppend(pages, kv_TX, norm_C, rows, rope);
            int T = c.of('T'), C = c.of('C'), R = c.of('R'), A = c.of('A'), M = c.of('M'), B = c.of('B'), S = c.of('S');
            int pageCount = pages.pages_SBX().dim(0);
            check((int) pm.latentAppend.invokeExact(
                    context,
                    pages.pages_SBX().data,
                    pages.cache(),
                    kv_TX.data,
                    Header.F32,
                    norm_C.data().data,
                    norm_C.format().id,
                    eps,
                    rows.table_AM().data,
                    rows.request_T().data,
                    rows.position_T().data,
                    rope.cos_SZ().data,
                    rope.sin_SZ().data,
                    T,
                    C,
                    R,
                    A,
                    M,
                    B,
                    pageCount,
                    S));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
        }
    }

    @Override
    public void mlaAttention(Tensor o_THC, Tensor q_THX, LatentPages pages, Rows rows, float scale) {
        caller.enter("mlaAttention");
        try {
            var c = contract.mlaAttention(o_THC, q_THX, pages, rows);
            int T = c.of('T'), H = c.of('H'), C = c.of('C'), R = c.of('R'), A = c.of('A'), M = c.of('M'), B = c.of('B');
            int pageCount = pages.pages_SBX().dim(0);
            check((int) pm.mlaAttention.invokeExact(
                    context,
                    o_THC.data,
                    q_THX.data,
                    Header.F32,
                    pages.pages_SBX().data,
                    pages.cache(),
                    rows.table_AM().data,
                    rows.request_T().data,
                    rows.position_T().data,
                    scale,
                    T,
                    H,
                    C,
                    R,
                    A,
                    M,
                    B,
                    pageCount));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
        }
    }

    @Override
    public void mlaOutput(Tensor o_THU, Tensor o_THC, Weight kvB) {
        caller.enter("mlaOutput");
        try {
            var c = contract.mlaOutput(o_THU, o_THC, kvB);
            int T = c.of('T'), H = c.of('H'), P = c.of('P'), U = c.of('U'), C = c.of('C');
            check((int) pm.mlaOutput.invokeExact(
                    context,
                    o_THU.data,
                    o_THC.data,
                    Header.F32,
                    kvB.data().data,
                    data(kvB.scale()),
                    kvB.format().id,
                    T,
                    H,
                    P,
                    U,
                    C));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
        }
    }

    @Override
    public void mlaExpanded(
            Tensor o_THU, Tensor q_THPR, LatentPages pages, Weight kvB, Rows rows, Rope rope, float scale) {
        caller.enter("mlaExpanded");
        try {
            var c = contract.mlaExpanded(o_THU, q_THPR, pages, kvB, rows, rope);
            int T = c.of('T'), H = c.of('H'), P = c.of('P'), U = c.of('U'), C = c.of('C'), R = c.of('R');
            int A = c.of('A'), M = c.of('M'), B = c.of('B'), S = c.of('S');
            int pageCount = pages.pages_SBX().dim(0);
            check((int) pm.mlaExpanded.invokeExact(
                    context,
                    o_THU.data,
                    q_THPR.data,
                    Header.F32,
                    pages.pages_SBX().data,
                    pages.cache(),
                    kvB.data().data,
                    data(kvB.scale()),
                    kvB.format().id,
                    rows.table_AM().data,
                    rows.request_T().data,
                    rows.position_T().data,
                    rope.cos_SZ().data,
                    rope.sin_SZ().data,
                    scale,
                    T,
                    H,
                    P,
                    U,
                    C,
                    R,
                    A,
                    M,
                    B,
                    pageCount,
                    S));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
        }
    }

    @Override
    public void score(Tensor score_TE, Scoring scoring) {
        caller.enter("score");
        try {
            var c = contract.score(score_TE);
            int T = c.of('T'), E = c.of('E');
            check((int) pm.score.invokeExact(context, score_TE.data, Header.F32, scoring.id, T, E));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
        }
    }

    @Override
    public void route(Routes routes, Tensor score_TE, Tensor bias_E, GroupLimitedTopK rule) {
        caller.enter("route");
        try {
            var c = contract.route(routes, score_TE, bias_E, rule);
            int T = c.of('T'), E = c.of('E'), K = c.of('K');
            check((int) pm.route.invokeExact(
                    context,
                    routes.expert_TK().data,
                    routes.share_TK().data,
                    routes.offset_E1().data,
                    routes.token_N().data,
                    routes.weight_N().data,
                    score_TE.data,
                    Header.F32,
                    bias_E.data,
                    T,
                    E,
                    K,
                    rule.groups(),
                    rule.keptGroups(),
                    rule.groupBest(),
                    rule.normalize() ? 1 : 0,
                    rule.scale()));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
        }
    }

    @Override
    public void gather(Tensor y_ND, Tensor x_TD, Tensor token_N) {
        caller.enter("gather");
        try {
            var c = contract.gather(y_ND, x_TD, token_N);
            int N = c.of('N'), T = c.of('T'), D = c.of('D');
            check((int) pm.gather.invokeExact(context, y_ND.data, x_TD.data, Header.F32, token_N.data, N, T, D));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
        }
    }

    @Override
    public void combine(Tensor y_TD, Tensor x_ND, Tensor token_N, Tensor weight_N) {
        caller.enter("combine");
        try {
            var c = contract.combine(y_TD, x_ND, token_N, weight_N);
            int N = c.of('N'), T = c.of('T'), D = c.of('D');
            check((int) pm.combine.invokeExact(
                    context, y_TD.data, x_ND.data, Header.F32, token_N.data, weight_N.data, N, T, D));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
        }
    }

    @Override
    public void swiglu(Tensor y_NF, Tensor gate_NF, Tensor up_NF) {
        caller.enter("swiglu");
        try {
            var c = contract.swiglu(y_NF, gate_NF, up_NF);
            int N = c.of('N'), F = c.of('F');
            check((int) pm.swiglu.invokeExact(context, y_NF.data, gate_NF.data, up_NF.data, Header.F32, N, F));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
        }
    }

    @Override
    public void add(Tensor y_TD, Tensor x_TD) {
        caller.enter("add");
        try {
            var c = contract.add(y_TD, x_TD);
            int T = c.of('T'), D = c.of('D');
            check((int) pm.add.invokeExact(context, y_TD.data, x_TD.data, Header.F32, T, D));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
        }
    }

    @Override
    public void embed(Tensor y_TD, Weight w_VD, Tensor token_T) {
        caller.enter("embed");
        try {
            var c = contract.embed(y_TD, w_VD, token_T);
            int T = c.of('T'), V = c.of('V'), D = c.of('D');
            check((int) pm.embed.invokeExact(
                    context,
                    y_TD.data,
                    Header.F32,
                    w_VD.data().data,
                    data(w_VD.scale()),
                    w_VD.format().id,
                    token_T.data,
                    T,
                    V,
                    D));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
        }
    }

    @Override
    public void argmax(Tensor index_T, Tensor x_TV) {
        caller.enter("argmax");
        try {
            var c = contract.argmax(index_T, x_TV);
            int T = c.of('T'), V = c.of('V');
            check((int) pm.argmax.invokeExact(context, index_T.data, x_TV.data, Header.F32, T, V));
        } catch (Throwable e) {
            throw unchecked(e);
        } finally {
            leave();
        }
    }

    @Override
    public void close() {
        if (caller.closed()) return;
        caller.enter("close");
        boolean closed = false;
        try {
            long bytes = bytesAllocated();
            if (bytes > 0) throw new IllegalStateException(Contract.stillAllocated(bytes));
            close(context);
            closed = true;
        } finally {
            if (closed) caller.leaveClosed();
            else caller.leave();
        }
    }

    @Override
    public String toString() {
        return description;
    }

    private MemorySegment open(String options) {
        try (var local = Arena.ofConfined()) {
            var out = local.allocate(ADDRESS);
            var text = local.allocateFrom(options);
            int status = value(() -> (int) pm.open.invokeExact(out, text));
            var opened = out.get(ADDRESS, 0);
            if (status == Header.OK) return opened;
            if (opened.equals(MemorySegment.NULL)) throw new KernelException("open: out of memory");
            var reason = error(opened);
            close(opened);
            throw new KernelException(reason);
        }
    }

    private void close(MemorySegment opened) {
        value(() -> {
            pm.close.invokeExact(opened);
            return Header.OK;
        });
    }

    private String error(MemorySegment opened) {
        return Header.text(value(() -> (MemorySegment) pm.error.invokeExact(opened)));
    }

    private long bytesAllocated() {
        return value(() -> (long) pm.allocated.invokeExact(context));
    }

    /** Runs when an arena closes, in any thread. */
    private void free(MemorySegment data) {
        caller.free(() -> check(value(() -> (int) pm.free.invokeExact(context, data))));
    }

    private float measure(String function, int quantity) {
        try (var local = Arena.ofConfined()) {
            var result = local.allocate(JAVA_FLOAT);
            call(function, () -> (int) pm.measure.invokeExact(context, quantity, result));
            return result.get(JAVA_FLOAT, 0);
        }
    }

    private MemorySegment address(long bytes) {
        try (var local = Arena.ofConfined()) {
            var out = local.allocate(ADDRESS);
            call("allocate", () -> (int) pm.allocate.invokeExact(context, out, bytes));
            return out.get(ADDRESS, 0);
        }
    }

    private void leave() {
        contract.end();
        caller.leave();
    }

    private void call(String function, Call<Integer> call) {
        caller.enter(function);
        try {
            check(value(call));
        } finally {
            caller.leave();
        }
    }

    /** The library's text names the function. */
    private void check(int status) {
        if (status != Header.OK) throw new KernelException(error(context));
    }

    private static <V> V value(Call<V> call) {
        try {
            return call.invoke();
        } catch (Throwable e) {
            throw unchecked(e);
        }
    }

    /** A downcall throws nothing checked. */
    private static RuntimeException unchecked(Throwable e) {
        if (e instanceof RuntimeException unchecked) return unchecked;
        if (e instanceof Error error) throw error;
        throw new AssertionError(e);
    }

    private static MemorySegment data(@Nullable Tensor tensor) {
        return tensor == null ? MemorySegment.NULL : tensor.data;
    }

    private interface Call<V> {
        V invoke() throws Throwable;
    }
}
