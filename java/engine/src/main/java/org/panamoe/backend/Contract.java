package org.panamoe.backend;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/**
 * What panamoe.h asks of the arguments of each function, checked before any back end sees them, so that a mistake names
 * both sides. The letters behind a name are its shape, and within a call one letter is one size; a {@code ?} is a size
 * without a letter of its own. What index arrays hold is for the back end to check.
 *
 * <p>One method for each function of {@link Kernels}; afterwards the size of each letter is known, until {@link #end}. One
 * object serves all calls, so that they allocate nothing.
 */
final class Contract {
    private static final int UNKNOWN = -1;

    private final boolean device;
    private String function = "";

    /** By letter: its size, and the name and value of the argument that set it. */
    private final int[] size = new int['Z' - 'A' + 1];

    private final @Nullable String[] nameOf = new String[size.length];
    private final @Nullable Object[] argumentOf = new Object[size.length];

    /** Most functions have one result, and it is the first argument. */
    private String resultName = "";

    private @Nullable Tensor result;

    Contract(boolean device) {
        this.device = device;
    }

    private Contract begin(String name) {
        function = name;
        Arrays.fill(size, UNKNOWN);
        return this;
    }

    /** Lets go of the arguments: they may belong to an arena that ends when nobody holds them any more. */
    void end() {
        Arrays.fill(argumentOf, null);
        result = null;
    }

    void copy(Tensor to, Tensor from) {
        var c = begin("copy");
        if (to.dtype != from.dtype || to.bytes() != from.bytes()) throw c.wrong("to is %s, from is %s", to, from);
        c.inReach("to", to, to);
        c.inReach("from", from, from);
        if (to.data.isReadOnly()) throw c.wrong("to is %s in read-only memory", to);
        if (overlap(to, from)) throw c.wrong("to and from overlap");
    }

    Contract rmsNorm(Tensor y_TD, Tensor x_TD, Weight w_D) {
        return begin("rmsNorm").result("y_TD", y_TD).inputOrResult("x_TD", x_TD).unscaled("w_D", "D", w_D);
    }

    Contract gemm(Tensor y_TF, Tensor x_TD, Weight w_FD) {
        return begin("gemm").result("y_TF", y_TF).input("x_TD", x_TD).weight("w_FD", "FD", w_FD);
    }

    Contract groupedGemm(Tensor y_NF, Tensor x_ND, ExpertTable w_E, Tensor offset_E1) {
        return begin("groupedGemm")
                .result("y_NF", y_NF)
                .input("x_ND", x_ND)
                .experts("w_E", "FD", w_E)
                .offsets(offset_E1, "w_E", w_E);
    }

    Contract groupedSwiglu(
            Tensor y_NF,
            Tensor x_TD,
            ExpertTable gate_E,
            ExpertTable up_E,
            Tensor offset_E1,
            @Nullable Tensor token_N) {
        var c = begin("groupedSwiglu")
                .result("y_NF", y_NF)
                .input("x_TD", x_TD)
                .experts("gate_E", "FD", gate_E)
                .experts("up_E", "FD", up_E);
        if (gate_E.format() != up_E.format()) throw c.wrong("gate_E is %s, up_E is %s: formats differ", gate_E, up_E);
        c.offsets(offset_E1, "gate_E", gate_E);
        if (token_N != null) return c.index("token_N", token_N);
        if (c.of('N') != c.of('T')) throw c.wrong("y_NF is %s, x_TD is %s: without token_N, N is T", y_NF, x_TD);
        return c;
    }

    Contract groupedCombine(
            Tensor y_TD,
            Tensor x_NF,
            ExpertTable w_E,
            Tensor offset_E1,
            @Nullable Tensor token_N,
            @Nullable Tensor weight_N) {
        var c = begin("groupedCombine")
                .result("y_TD", y_TD)
                .input("x_NF", x_NF)
                .experts("w_E", "DF", w_E)
                .offsets(offset_E1, "w_E", w_E);
        if ((token_N == null) != (weight_N == null))
            throw c.wrong("token_N is %s, weight_N is %s: both or none", token_N, weight_N);
        if (token_N != null && weight_N != null)
            return c.index("token_N", token_N).input("weight_N", weight_N);
        if (c.of('N') != c.of('T')) throw c.wrong("y_TD is %s, x_NF is %s: without token_N, N is T", y_TD, x_NF);
        return c;
    }

    Contract mlaQuery(Tensor q_THX, Tensor q_THPR, Weight kvB, Tensor position_T, Rope rope) {
        var c = begin("mlaQuery")
                .result("q_THX", q_THX)
                .input("q_THPR", "TH?", q_THPR)
                .weight("kvB", "?C", kvB)
                .index("position_T", position_T)
                .rope(rope);
        int H = c.of('H'), C = c.of('C'), R = c.of('R');
        if (c.of('X') != (long) C + R)
            throw c.wrong("q_THX is %s, kvB is %s, cos_SZ is %s: X is not C + R", q_THX, kvB, rope.cos_SZ());
        c.set('P', q_THPR.dim(2) - R, "q_THPR", q_THPR);
        return c.kvB(kvB, H, 'P', 'U');
    }

    Contract latentAppend(LatentPages pages, Tensor kv_TX, Weight norm_C, Rows rows, Rope rope) {
        var c = begin("latentAppend")
                .result("pages_SBX", "?BX", pages.pages_SBX(), cached(pages))
                .input("kv_TX", kv_TX)
                .unscaled("norm_C", "C", norm_C)
                .rows(rows)
                .rope(rope);
        if (c.of('X') != (long) c.of('C') + c.of('R'))
            throw c.wrong("kv_TX is %s, norm_C is %s, cos_SZ is %s: X is not C + R", kv_TX, norm_C, rope.cos_SZ());
        return c;
    }

    Contract mlaAttention(Tensor o_THC, Tensor q_THX, LatentPages pages, Rows rows) {
        var c = begin("mlaAttention")
                .result("o_THC", o_THC)
                .input("q_THX", q_THX)
                .input("pages_SBX", "?BX", pages.pages_SBX(), cached(pages))
                .rows(rows);
        c.set('R', c.of('X') - c.of('C'), "q_THX", q_THX);
        return c;
    }

    Contract mlaOutput(Tensor o_THU, Tensor o_THC, Weight kvB) {
        var c = begin("mlaOutput").result("o_THU", o_THU).input("o_THC", o_THC).weight("kvB", "?C", kvB);
        return c.kvB(kvB, c.of('H'), 'U', 'P');
    }

    Contract mlaExpanded(Tensor o_THU, Tensor q_THPR, LatentPages pages, Weight kvB, Rows rows, Rope rope) {
        var c = begin("mlaExpanded")
                .result("o_THU", o_THU)
                .input("q_THPR", "TH?", q_THPR)
                .input("pages_SBX", "?BX", pages.pages_SBX(), cached(pages))
                .weight("kvB", "?C", kvB)
                .rows(rows)
                .rope(rope);
        int H = c.of('H'), C = c.of('C'), R = c.of('R');
        if (c.of('X') != (long) C + R)
            throw c.wrong(
                    "pages_SBX is %s, kvB is %s, cos_SZ is %s: X is not C + R", pages.pages_SBX(), kvB, rope.cos_SZ());
        c.set('P', q_THPR.dim(2) - R, "q_THPR", q_THPR);
        return c.kvB(kvB, H, 'P', 'U');
    }

    Contract score(Tensor score_TE) {
        return begin("score").result("score_TE", score_TE);
    }

    Contract route(Routes routes, Tensor score_TE, Tensor bias_E, GroupLimitedTopK rule) {
        var c = begin("route").input("score_TE", score_TE).input("bias_E", bias_E);
        c.set('E', rule.experts(), "rule", rule);
        c.set('K', rule.chosen(), "rule", rule);
        if ((long) c.of('T') * c.of('K') > Integer.MAX_VALUE)
            throw c.wrong("T * K is beyond int: score_TE is %s", score_TE);
        c.set('N', c.of('T') * c.of('K'), "score_TE", score_TE);
        var apart = new ArrayList<>(List.of(score_TE, bias_E));
        c.output("expert_TK", "TK", routes.expert_TK(), DType.I32, apart);
        c.output("share_TK", "TK", routes.share_TK(), DType.F32, apart);
        c.output("token_N", "N", routes.token_N(), DType.I32, apart);
        c.output("weight_N", "N", routes.weight_N(), DType.F32, apart);
        c.output("offset_E1", "?", routes.offset_E1(), DType.I32, apart);
        int E = c.of('E');
        if (routes.offset_E1().dim(0) != E + 1L)
            throw c.wrong("rule has %s experts, offset_E1 is %s: it takes E + 1 offsets", E, routes.offset_E1());
        return c;
    }

    Contract gather(Tensor y_ND, Tensor x_TD, Tensor token_N) {
        return begin("gather").result("y_ND", y_ND).input("x_TD", x_TD).index("token_N", token_N);
    }

    Contract combine(Tensor y_TD, Tensor x_ND, Tensor token_N, Tensor weight_N) {
        return begin("combine")
                .result("y_TD", y_TD)
                .input("x_ND", x_ND)
                .index("token_N", token_N)
                .input("weight_N", weight_N);
    }

    Contract swiglu(Tensor y_NF, Tensor gate_NF, Tensor up_NF) {
        return begin("swiglu")
                .result("y_NF", y_NF)
                .inputOrResult("gate_NF", gate_NF)
                .inputOrResult("up_NF", up_NF);
    }

    Contract add(Tensor y_TD, Tensor x_TD) {
        return begin("add").result("y_TD", y_TD).input("x_TD", x_TD);
    }

    Contract embed(Tensor y_TD, Weight w_VD, Tensor token_T) {
        return begin("embed").result("y_TD", y_TD).weight("w_VD", "VD", w_VD).index("token_T", token_T);
    }

    Contract argmax(Tensor index_T, Tensor x_TV) {
        return begin("argmax").result("index_T", "T", index_T, DType.I32).input("x_TV", x_TV);
    }

    static String stillAllocated(long bytes) {
        return "close: %d bytes are still allocated: close models and caches first".formatted(bytes);
    }

    /** The size of a letter. */
    int of(char letter) {
        int n = size[letter - 'A'];
        assert n != UNKNOWN : function + " has no " + letter;
        return n;
    }

    private Contract result(String name, Tensor tensor) {
        return result(name, name, tensor, DType.F32); // the name ends in its letters
    }

    private Contract result(String name, String letters, Tensor tensor, DType type) {
        type(name, tensor, type);
        shape(name, letters, tensor, tensor);
        aligned(name, tensor);
        inReach(name, tensor, tensor);
        if (tensor.data.isReadOnly()) throw wrong("%s is %s in read-only memory", name, tensor);
        resultName = name;
        result = tensor;
        return this;
    }

    /** One of several results: apart from the inputs and from the results before it, which it joins. */
    private void output(String name, String letters, Tensor tensor, DType type, List<Tensor> apart) {
        result(name, letters, tensor, type);
        for (var other : apart)
            if (overlap(tensor, other)) throw wrong("%s is %s and overlaps another argument", name, tensor);
        apart.add(tensor);
    }

    private Contract input(String name, Tensor tensor) {
        return input(name, name, tensor);
    }

    private Contract input(String name, String letters, Tensor tensor) {
        return input(name, letters, tensor, DType.F32);
    }

    private Contract input(String name, String letters, Tensor tensor, DType type) {
        type(name, tensor, type);
        shape(name, letters, tensor, tensor);
        aligned(name, tensor);
        place(name, tensor, tensor);
        return this;
    }

    /** An input that may be the result itself, though not a shifted part of it. */
    private Contract inputOrResult(String name, Tensor tensor) {
        type(name, tensor, DType.F32);
        shape(name, name, tensor, tensor);
        aligned(name, tensor);
        if (result != null && tensor.data.address() == result.data.address()) inReach(name, tensor, tensor);
        else place(name, tensor, tensor);
        return this;
    }

    private Contract index(String name, Tensor tensor) {
        type(name, tensor, DType.I32);
        shape(name, name, tensor, tensor);
        aligned(name, tensor);
        place(name, tensor, tensor);
        return this;
    }

    /** Weights and scales may have any alignment. */
    private Contract weight(String name, String letters, Weight w) {
        shape(name, letters, w.data(), w, w.columns());
        place(name, w, w.data());
        if (w.scale() != null) place(name, w, w.scale());
        return this;
    }

    /** @param letters of each expert's matrix */
    private Contract experts(String name, String letters, ExpertTable w_E) {
        set('E', w_E.E(), name, w_E);
        set(letters.charAt(0), w_E.F(), name, w_E);
        set(letters.charAt(1), w_E.D(), name, w_E);
        place(name, w_E, w_E.address_E);
        if (w_E.scaleAddress_E != null) place(name, w_E, w_E.scaleAddress_E);
        // A table's segment does not keep alive what its addresses point to.
        alive(w_E.alive(), name, w_E);
        return this;
    }

    private Contract offsets(Tensor offset_E1, String name, ExpertTable w_E) {
        type("offset_E1", offset_E1, DType.I32);
        if (offset_E1.rank() != 1 || dim("offset_E1", offset_E1, 0, offset_E1) != w_E.E() + 1L)
            throw wrong("%s is %s, offset_E1 is %s: it takes E + 1 offsets", name, w_E, offset_E1);
        aligned("offset_E1", offset_E1);
        place("offset_E1", offset_E1, offset_E1);
        return this;
    }

    private Contract unscaled(String name, String letters, Weight w) {
        if (w.format() != QuantFormat.F32 && w.format() != QuantFormat.BF16)
            throw wrong("%s is %s, but F32 or BF16 is needed", name, w);
        return weight(name, letters, w);
    }

    private Contract rope(Rope rope) {
        input("cos_SZ", rope.cos_SZ());
        input("sin_SZ", rope.sin_SZ());
        set('R', Math.multiplyExact(2, of('Z')), "cos_SZ", rope.cos_SZ());
        return this;
    }

    private Contract rows(Rows rows) {
        index("table_AM", rows.table_AM());
        index("request_T", rows.request_T());
        return index("position_T", rows.position_T());
    }

    /** kv_b_proj has H * (P + U) rows: of P and U, the known one tells the other. */
    private Contract kvB(Weight kvB, int H, char known, char unknown) {
        int rows = kvB.data().dim(0), one = rows / H - of(known);
        if (rows % H != 0 || one <= 0)
            throw wrong("kvB is %s: its rows are not H * (P + U) with H = %s, %s = %s", kvB, H, known, of(known));
        set(unknown, one, "kvB", kvB);
        return this;
    }

    private void shape(String name, String letters, Tensor tensor, Object shown) {
        shape(name, letters, tensor, shown, UNKNOWN);
    }

    /** @param last the last size, where it is not the tensor's own */
    private void shape(String name, String letters, Tensor tensor, Object shown, int last) {
        int from = letters.lastIndexOf('_') + 1, rank = letters.length() - from;
        if (tensor.rank() != rank) throw wrong("%s is %s, which has not %s dimensions", name, shown, rank);
        for (int i = 0; i < rank; i++) {
            char letter = letters.charAt(from + i);
            int n = last != UNKNOWN && i == rank - 1 ? last : dim(name, tensor, i, shown);
            if (letter != '?') set(letter, n, name, shown);
            else if (n <= 0) throw wrong("%s is %s: a size is 0", name, shown);
        }
    }

    private int dim(String name, Tensor tensor, int i, Object shown) {
        try {
            return tensor.dim(i);
        } catch (ArithmeticException e) {
            throw new IllegalArgumentException(
                    "%s: %s is %s: a size is beyond int".formatted(function, name, shown), e);
        }
    }

    private void set(char letter, int n, String name, Object argument) {
        int i = letter - 'A';
        if (size[i] == n) return;
        if (size[i] != UNKNOWN)
            throw new IllegalArgumentException("%s: %s is %s, %s is %s: %s differs"
                    .formatted(function, nameOf[i], argumentOf[i], name, argument, letter));
        if (n < 0 || (n == 0 && letter != 'T' && letter != 'N'))
            throw wrong("%s is %s: %s is %s", name, argument, letter, n);
        size[i] = n;
        nameOf[i] = name;
        argumentOf[i] = argument;
    }

    /** The latent cache may be BF16, too. */
    private static DType cached(LatentPages pages) {
        return pages.pages_SBX().dtype == DType.BF16 ? DType.BF16 : DType.F32;
    }

    private void type(String name, Tensor tensor, DType type) {
        if (tensor.dtype != type) throw wrong("%s is %s, but %s is needed", name, tensor, type);
    }

    private void aligned(String name, Tensor tensor) {
        if (tensor.data.address() % tensor.dtype.bytes != 0)
            throw wrong("%s is %s at an address that is no multiple of %s", name, tensor, tensor.dtype.bytes);
    }

    /** In the memory of the back end, and apart from the result. */
    private void place(String name, Object shown, Tensor tensor) {
        inReach(name, shown, tensor);
        if (result != null && overlap(result, tensor)) throw wrong("%s is %s and overlaps %s", name, shown, resultName);
    }

    private void inReach(String name, Object shown, Tensor tensor) {
        alive(tensor.data.scope().isAlive(), name, shown);
        if (!tensor.data.isNative())
            throw wrong("%s is %s on the Java heap, which native code cannot see", name, shown);
        // Only a copy has a side in the other memory.
        if (tensor.bytes() != 0 && tensor.onDevice() != device && !(device && function.equals("copy")))
            throw new IllegalArgumentException("%s: %s is %s in the memory of %s, this back end computes in that of %s"
                    .formatted(
                            function, name, shown, device ? "the host" : "a device", device ? "a device" : "the host"));
    }

    private void alive(boolean alive, String name, Object shown) {
        if (!alive)
            throw new IllegalStateException("%s: %s is %s, whose memory is closed".formatted(function, name, shown));
    }

    private IllegalArgumentException wrong(String message, @Nullable Object... arguments) {
        return new IllegalArgumentException(function + ": " + message.formatted(arguments));
    }

    private static boolean overlap(Tensor a, Tensor b) {
        long atA = a.data.address(), atB = b.data.address();
        return atA < atB + b.bytes() && atB < atA + a.bytes();
    }
}
