package org.panamoe.backend;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/**
 * What every function of panamoe.h means, in plain Java: the definition that the native libraries are tested against.
 * Sums are taken in double and rounded to float once, at the end; so each row depends on that row and the weights alone.
 * Products with integer formats are fp32, operation by operation: there every back end has the same bits.
 */
final class ReferenceKernels implements Kernels {
    private final OneCaller caller = new OneCaller();
    private final AtomicLong allocated = new AtomicLong();

    @Override
    public String describe() {
        return "backend=reference isa=java threads=1";
    }

    /** The bytes are 0xff, so that whoever reads memory before writing it meets NaN, or the index -1. */
    @Override
    public Tensor allocate(Arena arena, DType dtype, long... shape) {
        return inside("allocate", () -> {
            long bytes = Tensor.bytes(dtype, shape);
            MemorySegment data;
            try {
                data = arena.allocate(bytes, 64).fill((byte) 0xff);
            } catch (OutOfMemoryError e) {
                throw new KernelException("allocate: %s bytes: out of memory".formatted(bytes));
            }
            allocated.addAndGet(bytes);
            return new Tensor(data.reinterpret(arena, freed -> allocated.addAndGet(-bytes)), dtype, shape);
        });
    }

    @Override
    public long allocated() {
        return inside("allocated", allocated::get);
    }

    @Override
    public void copy(Tensor to, Tensor from) {
        new Contract(false).copy(to, from);
        run("copy", () -> MemorySegment.copy(from.data, 0, to.data, 0, to.bytes()));
    }

    @Override
    public boolean onDevice() {
        return false;
    }

    @Override
    public void synchronize() {
        run("synchronize", () -> {});
    }

    @Override
    public void rmsNorm(Tensor y_TD, Tensor x_TD, Weight w_D, float eps) {
        var c = new Contract(false).rmsNorm(y_TD, x_TD, w_D);
        int T = c.of('T'), D = c.of('D');
        run("rmsNorm", () -> {
            double[] w = row(w_D, 0, D);
            for (int t = 0; t < T; t++) store(normed(row(x_TD, t, D), w, eps), y_TD, t);
        });
    }

    @Override
    public void gemm(Tensor y_TF, Tensor x_TD, Weight w_FD) {
        var c = new Contract(false).gemm(y_TF, x_TD, w_FD);
        run("gemm", () -> gemm(y_TF, x_TD, w_FD, 0, c.of('T')));
    }

    @Override
    public void groupedGemm(Tensor y_NF, Tensor x_ND, ExpertTable w_E, Tensor offset_E1) {
        var c = new Contract(false).groupedGemm(y_NF, x_ND, w_E, offset_E1);
        int N = c.of('N'), E = c.of('E');
        run("groupedGemm", () -> {
            for (int e = 0; e <= E; e++) {
                int offset = offset_E1.getInt(e);
                int least = e == 0 ? 0 : offset_E1.getInt(e - 1), most = e == 0 ? 0 : N;
                check(
                        least <= offset && offset <= most && (e < E || offset == N),
                        "groupedGemm: offset_E1[%s] is %s, but they ascend from 0 to N = %s",
                        e,
                        offset,
                        N);
            }
            for (int e = 0; e < E; e++) gemm(y_NF, x_ND, w_E.w_E.get(e), offset_E1.getInt(e), offset_E1.getInt(e + 1));
        });
    }

    @Override
    public void groupedSwiglu(
            Tensor y_NF,
            Tensor x_TD,
            ExpertTable gate_E,
            ExpertTable up_E,
            Tensor offset_E1,
            @Nullable Tensor token_N) {
        var c = new Contract(false).groupedSwiglu(y_NF, x_TD, gate_E, up_E, offset_E1, token_N);
        int N = c.of('N'), D = c.of('D'), F = c.of('F');
        try (var local = Arena.ofConfined()) {
            var x_ND = x_TD;
            if (token_N != null) {
                x_ND = Tensor.allocate(local, DType.F32, N, D);
                gather(x_ND, x_TD, token_N);
            }
            Tensor gate_NF = Tensor.allocate(local, DType.F32, N, F), up_NF = Tensor.allocate(local, DType.F32, N, F);
            groupedGemm(gate_NF, x_ND, gate_E, offset_E1);
            groupedGemm(up_NF, x_ND, up_E, offset_E1);
            swiglu(y_NF, gate_NF, up_NF);
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
        var c = new Contract(false).groupedCombine(y_TD, x_NF, w_E, offset_E1, token_N, weight_N);
        try (var local = Arena.ofConfined()) {
            var x_ND = Tensor.allocate(local, DType.F32, c.of('N'), c.of('D'));
            groupedGemm(x_ND, x_NF, w_E, offset_E1);
            if (token_N != null && weight_N != null) combine(y_TD, x_ND, token_N, weight_N);
            else add(y_TD, x_ND);
        }
    }

    /** Rows [from, to) of y are w times those rows of x. A row of w is decoded once and used for all rows of x. */
    private static void gemm(Tensor y, Tensor x, Weight w_FD, int from, int to) {
        if (from == to) return;
        if (w_FD.format().integer()) {
            gemmOfCodes(y, x, w_FD, from, to);
            return;
        }
        int F = w_FD.data().dim(0), D = w_FD.columns();
        var rows = new double[to - from][];
        for (int t = from; t < to; t++) rows[t - from] = row(x, t, D);
        for (int f = 0; f < F; f++) {
            double[] w = row(w_FD, f, D);
            for (int t = from; t < to; t++) y.setFloat((long) t * F + f, (float) dot(w, rows[t - from], D));
        }
    }

    /** The same of an integer format: every operation of fp32 is one that panamoe.h names, and in its order. */
    private static void gemmOfCodes(Tensor y, Tensor x, Weight w_FD, int from, int to) {
        int F = w_FD.data().dim(0), D = w_FD.columns(), group = w_FD.format().block;
        var values = new float[D];
        var codes = new int[D];
        var scales = new float[Math.ceilDiv(D, group)];
        var codes_FD = new int[F][D];
        for (int f = 0; f < F; f++) for (int d = 0; d < D; d++) codes_FD[f][d] = w_FD.code(f, d);
        for (int t = from; t < to; t++) {
            x.getFloats((long) t * D, values);
            for (int g = 0; g < scales.length; g++)
                scales[g] = quantize(codes, values, g * group, Math.min(D, (g + 1) * group));
            for (int f = 0; f < F; f++) {
                float sum = 0;
                for (int g = 0; g < scales.length; g++) {
                    int products = 0;
                    for (int d = g * group; d < Math.min(D, (g + 1) * group); d++)
                        products += codes[d] * codes_FD[f][d];
                    sum = Math.fma((float) products, scales[g] * w_FD.scale(f, g * group), sum);
                }
                y.setFloat((long) t * F + f, sum);
            }
        }
    }

    /** Codes of the values in [from, to), from -127 to 127; their scale. */
    private static float quantize(int[] codes, float[] values, int from, int to) {
        float amax = 0;
        for (int d = from; d < to; d++) amax = Math.max(amax, Math.abs(values[d])); // NaN wins
        float scale = Float.isFinite(amax) ? amax / 127 : Float.NaN;
        for (int d = from; d < to; d++)
            codes[d] = scale > 0 ? Math.clamp((int) Math.rint(values[d] / scale), -127, 127) : 0;
        return scale;
    }

    @Override
    public void mlaQuery(Tensor q_THX, Tensor q_THPR, Weight kvB, Tensor position_T, Rope rope) {
        var c = new Contract(false).mlaQuery(q_THX, q_THPR, kvB, position_T, rope);
        int T = c.of('T'), H = c.of('H'), P = c.of('P'), U = c.of('U'), C = c.of('C'), R = c.of('R');
        run("mlaQuery", () -> {
            for (int h = 0; h < H; h++) {
                var k_PC = new double[P][];
                for (int p = 0; p < P; p++) k_PC[p] = row(kvB, (long) h * (P + U) + p, C);
                for (int t = 0; t < T; t++) {
                    double[] in = row(q_THPR, (long) t * H + h, P + R);
                    var q = new double[C + R];
                    for (int p = 0; p < P; p++) for (int i = 0; i < C; i++) q[i] += in[p] * k_PC[p][i];
                    for (int r = 0; r < R; r++) q[C + r] = in[P + r];
                    rotate(q, C, R, rope, position("mlaQuery", position_T, t, rope));
                    store(q, q_THX, (long) t * H + h);
                }
            }
        });
    }

    @Override
    public void latentAppend(LatentPages pages, Tensor kv_TX, Weight norm_C, float eps, Rows rows, Rope rope) {
        var c = new Contract(false).latentAppend(pages, kv_TX, norm_C, rows, rope);
        int T = c.of('T'), C = c.of('C'), R = c.of('R');
        run("latentAppend", () -> {
            double[] norm = row(norm_C, 0, C);
            for (int t = 0; t < T; t++) {
                double[] kv = row(kv_TX, t, C + R);
                System.arraycopy(normed(kv, norm, eps), 0, kv, 0, C);
                int position = position("latentAppend", rows.position_T(), t, rope);
                rotate(kv, C, R, rope, position);
                cachedPosition("latentAppend", pages, rows, t);
                store(kv, pages.pages_SBX(), place("latentAppend", pages, rows, t, position));
            }
        });
    }

    @Override
    public void mlaAttention(Tensor o_THC, Tensor q_THX, LatentPages pages, Rows rows, float scale) {
        var c = new Contract(false).mlaAttention(o_THC, q_THX, pages, rows);
        int T = c.of('T'), H = c.of('H'), C = c.of('C'), X = c.of('X');
        run("mlaAttention", () -> {
            for (int t = 0; t < T; t++) {
                double[][] cached = cached("mlaAttention", pages, rows, t);
                for (int h = 0; h < H; h++) {
                    double[] q = row(q_THX, (long) t * H + h, X);
                    var score = new double[cached.length];
                    for (int s = 0; s < score.length; s++) score[s] = scale * dot(q, cached[s], X);
                    store(mean(softmax(score), cached, C), o_THC, (long) t * H + h);
                }
            }
        });
    }

    @Override
    public void mlaOutput(Tensor o_THU, Tensor o_THC, Weight kvB) {
        var c = new Contract(false).mlaOutput(o_THU, o_THC, kvB);
        int T = c.of('T'), H = c.of('H'), P = c.of('P'), U = c.of('U'), C = c.of('C');
        run("mlaOutput", () -> {
            for (int h = 0; h < H; h++) {
                var v_UC = new double[U][];
                for (int u = 0; u < U; u++) v_UC[u] = row(kvB, (long) h * (P + U) + P + u, C);
                for (int t = 0; t < T; t++) {
                    double[] in = row(o_THC, (long) t * H + h, C);
                    var o = new double[U];
                    for (int u = 0; u < U; u++) o[u] = dot(in, v_UC[u], C);
                    store(o, o_THU, (long) t * H + h);
                }
            }
        });
    }

    @Override
    public void mlaExpanded(
            Tensor o_THU, Tensor q_THPR, LatentPages pages, Weight kvB, Rows rows, Rope rope, float scale) {
        var c = new Contract(false).mlaExpanded(o_THU, q_THPR, pages, kvB, rows, rope);
        int T = c.of('T'), H = c.of('H');
        run("mlaExpanded", () -> {
            for (int t = 0, from = 0; t < T; t++) {
                position("mlaExpanded", rows.position_T(), t, rope);
                cachedPosition("mlaExpanded", pages, rows, t);
                place("mlaExpanded", pages, rows, t, 0);
                boolean last = t + 1 == T
                        || rows.request_T().getInt(t + 1L) != rows.request_T().getInt(t);
                if (!last) continue;
                for (int h = 0; h < H; h++)
                    attendExpanded(c, o_THU, q_THPR, pages, kvB, rows, rope, scale, h, from, t + 1);
                from = t + 1;
            }
        });
    }

    /** Head h of rows [from, to), which are one request's. */
    private static void attendExpanded(
            Contract c,
            Tensor o_THU,
            Tensor q_THPR,
            LatentPages pages,
            Weight kvB,
            Rows rows,
            Rope rope,
            float scale,
            int h,
            int from,
            int to) {
        int H = c.of('H'), P = c.of('P'), U = c.of('U'), C = c.of('C'), R = c.of('R');
        int furthest = from;
        for (int t = from; t < to; t++)
            if (rows.position_T().getInt(t) > rows.position_T().getInt(furthest)) furthest = t;
        double[][] cached = cached("mlaExpanded", pages, rows, furthest);
        var k = new double[cached.length][P + R];
        var v = new double[cached.length][U];
        for (int row = 0; row < P + U; row++) {
            double[] w = row(kvB, (long) h * (P + U) + row, C);
            for (int s = 0; s < cached.length; s++) {
                double value = dot(w, cached[s], C);
                if (row < P) k[s][row] = value;
                else v[s][row - P] = value;
            }
        }
        for (int s = 0; s < cached.length; s++) System.arraycopy(cached[s], C, k[s], P, R);
        for (int t = from; t < to; t++) {
            int position = rows.position_T().getInt(t);
            double[] q = row(q_THPR, (long) t * H + h, P + R);
            rotate(q, P, R, rope, position);
            var score = new double[position + 1];
            for (int s = 0; s <= position; s++) score[s] = scale * dot(q, k[s], P + R);
            store(mean(softmax(score), v, U), o_THU, (long) t * H + h);
        }
    }

    @Override
    public void score(Tensor score_TE, Scoring scoring) {
        var c = new Contract(false).score(score_TE);
        int T = c.of('T'), E = c.of('E');
        run("score", () -> {
            float[] row_E = new float[E];
            for (int t = 0; t < T; t++) {
                score_TE.getFloats((long) t * E, row_E);
                scoring.score(row_E);
                score_TE.setFloats((long) t * E, row_E, 0, E);
            }
        });
    }

    @Override
    public void route(Routes routes, Tensor score_TE, Tensor bias_E, GroupLimitedTopK rule) {
        var c = new Contract(false).route(routes, score_TE, bias_E, rule);
        int T = c.of('T'), E = c.of('E'), K = c.of('K');
        run("route", () -> {
            float[] bias = new float[E], score_E = new float[E], share_K = new float[K];
            int[] expert_K = new int[K], expert_TK = new int[T * K];
            float[] share_TK = new float[T * K];
            bias_E.getFloats(0, bias);
            for (int t = 0; t < T; t++) {
                score_TE.getFloats((long) t * E, score_E);
                rule.choose(score_E, bias, expert_K, share_K);
                System.arraycopy(expert_K, 0, expert_TK, t * K, K);
                System.arraycopy(share_K, 0, share_TK, t * K, K);
            }
            var sorted = new SortedByExpert(T, E, K);
            sorted.sort(expert_TK, share_TK);
            routes.expert_TK().setInts(0, expert_TK, 0, T * K);
            routes.share_TK().setFloats(0, share_TK, 0, T * K);
            routes.offset_E1().setInts(0, sorted.offset_E1, 0, E + 1);
            routes.token_N().setInts(0, sorted.token_N, 0, T * K);
            routes.weight_N().setFloats(0, sorted.weight_N, 0, T * K);
        });
    }

    @Override
    public void gather(Tensor y_ND, Tensor x_TD, Tensor token_N) {
        var c = new Contract(false).gather(y_ND, x_TD, token_N);
        int N = c.of('N'), D = c.of('D'), T = c.of('T');
        run("gather", () -> {
            for (int n = 0; n < N; n++) store(row(x_TD, index("gather", "token_N", token_N, n, "T", T), D), y_ND, n);
        });
    }

    @Override
    public void combine(Tensor y_TD, Tensor x_ND, Tensor token_N, Tensor weight_N) {
        var c = new Contract(false).combine(y_TD, x_ND, token_N, weight_N);
        int N = c.of('N'), D = c.of('D'), T = c.of('T');
        run("combine", () -> {
            var y = new double[T][];
            for (int t = 0; t < T; t++) y[t] = row(y_TD, t, D);
            for (int n = 0; n < N; n++) {
                double[] x = row(x_ND, n, D), sum = y[index("combine", "token_N", token_N, n, "T", T)];
                double weight = weight_N.getFloat(n);
                for (int d = 0; d < D; d++) sum[d] += weight * x[d];
            }
            for (int t = 0; t < T; t++) store(y[t], y_TD, t);
        });
    }

    @Override
    public void swiglu(Tensor y_NF, Tensor gate_NF, Tensor up_NF) {
        new Contract(false).swiglu(y_NF, gate_NF, up_NF);
        run("swiglu", () -> {
            for (long i = 0; i < y_NF.size(); i++) {
                double z = gate_NF.getFloat(i);
                y_NF.setFloat(i, (float) (z / (1 + Math.exp(-z)) * up_NF.getFloat(i)));
            }
        });
    }

    @Override
    public void add(Tensor y_TD, Tensor x_TD) {
        new Contract(false).add(y_TD, x_TD);
        run("add", () -> {
            for (long i = 0; i < y_TD.size(); i++) y_TD.setFloat(i, y_TD.getFloat(i) + x_TD.getFloat(i));
        });
    }

    @Override
    public void embed(Tensor y_TD, Weight w_VD, Tensor token_T) {
        var c = new Contract(false).embed(y_TD, w_VD, token_T);
        int T = c.of('T'), V = c.of('V'), D = c.of('D');
        run("embed", () -> {
            for (int t = 0; t < T; t++) store(row(w_VD, index("embed", "token_T", token_T, t, "V", V), D), y_TD, t);
        });
    }

    @Override
    public void argmax(Tensor index_T, Tensor x_TV) {
        var c = new Contract(false).argmax(index_T, x_TV);
        int T = c.of('T'), V = c.of('V');
        run("argmax", () -> {
            for (int t = 0; t < T; t++) {
                double[] x = row(x_TV, t, V);
                int best = 0;
                for (int v = 1; v < V; v++)
                    if (x[v] > x[best] || (Double.isNaN(x[best]) && !Double.isNaN(x[v]))) best = v;
                index_T.setInt(t, best);
            }
        });
    }

    @Override
    public float readBandwidth() {
        return inside("readBandwidth", () -> {
            try (var arena = Arena.ofConfined()) {
                var memory = arena.allocate(64 << 20, 64).fill((byte) 1);
                double best = 0;
                long sum = 0;
                for (int round = 0; round < 4; round++) {
                    long start = System.nanoTime();
                    for (long i = 0; i < memory.byteSize() / Long.BYTES; i++) sum += memory.getAtIndex(JAVA_LONG, i);
                    best = Math.max(best, memory.byteSize() * 1e9 / (System.nanoTime() - start));
                }
                return sum == 0 ? 0 : (float) best; // the sum is used, so the loop is not optimised away
            }
        });
    }

    @Override
    public float fmaRate() {
        return inside("fmaRate", () -> {
            int steps = 10_000_000;
            float a = 1, b = 2, c = 3, d = 4, x = 0.999f, y = 0.001f;
            double best = 0;
            for (int round = 0; round < 4; round++) {
                long start = System.nanoTime();
                for (int i = 0; i < steps; i++) {
                    a = Math.fma(a, x, y);
                    b = Math.fma(b, x, y);
                    c = Math.fma(c, x, y);
                    d = Math.fma(d, x, y);
                }
                best = Math.max(best, 4 * 2 * steps * 1e9 / (System.nanoTime() - start));
            }
            return a + b + c + d == 0 ? 0 : (float) best;
        });
    }

    @Override
    public float int8Rate() {
        return inside("int8Rate", () -> 0f);
    }

    @Override
    public void close() {
        if (caller.closed()) return;
        caller.enter("close");
        boolean closed = allocated.get() == 0;
        if (closed) {
            caller.leaveClosed();
        } else {
            caller.leave();
            throw new IllegalStateException(Contract.stillAllocated(allocated.get()));
        }
    }

    @Override
    public String toString() {
        return describe();
    }

    /** Row f of a matrix (or a whole vector, its row 0), decoded. */
    private static double[] row(Weight w, long f, int D) {
        var values = new float[D];
        w.decode(f, values);
        var row = new double[D];
        for (int d = 0; d < D; d++) row[d] = values[d];
        return row;
    }

    private static double[] row(Tensor x, long t, int D) {
        var row = new double[D];
        for (int d = 0; d < D; d++) row[d] = x.getFloat(t * D + d);
        return row;
    }

    private static void store(double[] row, Tensor y, long t) {
        for (int d = 0; d < row.length; d++) y.setFloat(t * row.length + d, (float) row[d]);
    }

    /** The first n values of a and b. */
    private static double dot(double[] a, double[] b, int n) {
        double sum = 0;
        for (int i = 0; i < n; i++) sum += a[i] * b[i];
        return sum;
    }

    /** The norm of the first w.length values of x. */
    private static double[] normed(double[] x, double[] w, float eps) {
        double rms = Math.sqrt(dot(x, x, w.length) / w.length + eps);
        var y = new double[w.length];
        for (int d = 0; d < y.length; d++) y[d] = x[d] / rms * w[d];
        return y;
    }

    /** Turns the R values from {@code from} on: neighbours are a pair. */
    private static void rotate(double[] x, int from, int R, Rope rope, int position) {
        for (int z = 0; z < R / 2; z++) {
            double cos = rope.cos_SZ().getFloat((long) position * (R / 2) + z);
            double sin = rope.sin_SZ().getFloat((long) position * (R / 2) + z);
            double a = x[from + 2 * z], b = x[from + 2 * z + 1];
            x[from + 2 * z] = a * cos - b * sin;
            x[from + 2 * z + 1] = a * sin + b * cos;
        }
    }

    /** In place. */
    private static double[] softmax(double[] score) {
        double max = Double.NEGATIVE_INFINITY, sum = 0;
        for (double x : score) max = Math.max(max, x);
        for (int s = 0; s < score.length; s++) {
            score[s] = Math.exp(score[s] - max);
            sum += score[s];
        }
        for (int s = 0; s < score.length; s++) score[s] /= sum;
        return score;
    }

    /** The mean, so weighted, of the first n values of as many rows as there are weights. */
    private static double[] mean(double[] weight, double[][] rows, int n) {
        var mean = new double[n];
        for (int s = 0; s < weight.length; s++) for (int i = 0; i < n; i++) mean[i] += weight[s] * rows[s][i];
        return mean;
    }

    /** Everything that row t may look at: the cached rows of its request up to its own position. */
    private static double[][] cached(String function, LatentPages pages, Rows rows, int t) {
        int X = pages.pages_SBX().dim(2), position = cachedPosition(function, pages, rows, t);
        var cached = new double[position + 1][];
        for (int s = 0; s <= position; s++) cached[s] = row(pages.pages_SBX(), place(function, pages, rows, t, s), X);
        return cached;
    }

    /** Which row of the pages holds this position of the request that row t belongs to. */
    private static long place(String function, LatentPages pages, Rows rows, int t, int position) {
        int pageCount = pages.pages_SBX().dim(0), B = pages.pages_SBX().dim(1);
        int A = rows.table_AM().dim(0), M = rows.table_AM().dim(1);
        int request = index(function, "request_T", rows.request_T(), t, "A", A), m = position / B;
        int page = rows.table_AM().getInt((long) request * M + m);
        check(
                page >= 0 && page < pageCount,
                "%s: table_AM[%s][%s] is %s, page_count is %s",
                function,
                request,
                m,
                page,
                pageCount);
        return (long) page * B + position % B;
    }

    /** The position of row t, which the tables of pages must reach. */
    private static int cachedPosition(String function, LatentPages pages, Rows rows, int t) {
        long MB = (long) rows.table_AM().dim(1) * pages.pages_SBX().dim(1);
        return index(function, "position_T", rows.position_T(), t, "M * B", MB);
    }

    /** The position of row t, which the tables of rope must reach. */
    private static int position(String function, Tensor position_T, int t, Rope rope) {
        return index(function, "position_T", position_T, t, "S", rope.cos_SZ().dim(0));
    }

    /** The index at i, which must be less than a limit: "embed: token_T[3] is 70000, V is 512". */
    private static int index(String function, String name, Tensor indices, long i, String limit, long most) {
        int index = indices.getInt(i);
        check(index >= 0 && index < most, "%s: %s[%s] is %s, %s is %s", function, name, i, index, limit, most);
        return index;
    }

    private static void check(boolean holds, String message, Object... arguments) {
        if (!holds) throw new KernelException(message.formatted(arguments));
    }

    private void run(String function, Runnable body) {
        inside(function, () -> {
            body.run();
            return true;
        });
    }

    private <V> V inside(String function, Supplier<V> body) {
        caller.enter(function);
        try {
            return body.get();
        } finally {
            caller.leave();
        }
    }
}
