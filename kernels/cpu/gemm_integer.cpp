// gemm and grouped_gemm of the integer formats: y[t][f] = sum over groups of sum_g * (scale_x * scale_w), where sum_g
// is the exact int32 sum of products of codes. panamoe.h has the definition, operation by operation.
//
// A block of weights is turned first, in registers, so that a vector holds four columns of LANES outputs: an
// accumulator belongs to LANES outputs, nothing is added across lanes, and x is broadcast, four codes at a time, for
// one vector of outputs or for two. All rows are multiplied before the next block is turned: whatever their number,
// codes are read and turned once.
#include <stddef.h>

#include "formats.hpp"
#include "tiles.hpp"

namespace panamoe::PANAMOE_ISA {
namespace {

template <class Format>
constexpr bool kNibbles = Format::bytes(2) == 1;

// Rows that are multiplied at once, by codes of one vector of outputs, or of two: then a code of x is loaded for both.
// Two take more registers, and where products are no instruction even more, and turning them has to pay.
constexpr int kRows = 4, kRowsOfTwo = 2;
constexpr int64_t kNever = kGemmRows + 1;
template <class Format>
constexpr int64_t kRowsForTwo = LANES < 16       ? kNever
                                : kUnsignedBytes ? (kNibbles<Format> ? 5 : 9)
                                                 : (kNibbles<Format> ? 33 : kNever);
constexpr int64_t kQuads = kGroup / 4;                     // vectors of codes in a group
constexpr int64_t kScaleGroups = 2 * LANES;                // as many as turning their scales takes at once
static_assert(kGemmRows * 2 * sizeof(Vec) <= 256 * 1024);  // sums, in a thread's scratch

// The sum of start and of a group's products, LANES outputs at once.
template <class Format>
struct Dots {
    IntVec sums;
    PANAMOE_INLINE explicit Dots(IntVec start = IntVec{}) : sums(start) {}
    PANAMOE_INLINE IntVec total(IntVec) const { return sums; }
    PANAMOE_INLINE void add(IntVec w, IntVec x) { sums = dot<Format::kOffset == 0>(sums, w, x); }
};

template <>
struct Dots<Int4> : SmallDots {
    static_assert(kMost >= kQuads);
    using SmallDots::SmallDots;
};

// The rows of w that are the outputs of one vector.
template <class Format>
struct Outputs {
    const Byte *codes, *scales;
    int64_t stride, scale_stride, count;
    bool near;

    Outputs() = default;
    Outputs(const Matrix &w, int64_t f, int64_t to) {
        stride = Format::bytes(w.D);
        scale_stride = QuantizedRow::groups(w.D) * kGroupScaleBytes;
        codes = w.data + f * stride;
        scales = w.scale + f * scale_stride;
        count = to - f < LANES ? to - f : LANES;
        near = w.near;
    }
};

// Values of n bytes, the rest 0.
PANAMOE_INLINE IntVec load_bytes(const Byte *from, int64_t n) {
    IntVec v{};
    __builtin_memcpy(&v, from, static_cast<size_t>(n));
    return v;
}

constexpr int64_t kBlockBytes = static_cast<int64_t>(sizeof(IntVec));

// A vector from each of LANES rows, a stride apart. Where there are fewer rows, or they end within it, what is there is
// copied to where the rest is 0.
struct Rows {
    const Byte *from;
    int64_t stride;
    Byte copy[LANES][kBlockBytes];

    PANAMOE_INLINE Rows(const Byte *w, int64_t w_stride, int64_t count, int64_t at) : from(w + at), stride(w_stride) {
        if (at + kBlockBytes > w_stride || count < LANES) [[unlikely]] {
            copy_rows(copy, from, stride, count, at < w_stride ? w_stride - at : 0);
            from = copy[0];
            stride = kBlockBytes;
        }
    }

    Rows(const Rows &) = delete;  // from may point into copy

    PANAMOE_INLINE IntVec load(int64_t lane) const { return bits<IntVec>(PANAMOE_ISA::load(from + lane * stride)); }

  private:
    // left: bytes of a row from here on.
    [[gnu::noinline]] PANAMOE_NOCLONE static void copy_rows(Byte (*to)[kBlockBytes], const Byte *from, int64_t stride,
                                                            int64_t count, int64_t left) {
        for (int64_t lane = 0; lane < LANES; lane++) {
            IntVec padded =
                lane < count ? load_bytes(from + lane * stride, left < kBlockBytes ? left : kBlockBytes) : IntVec{};
            __builtin_memcpy(to[lane], &padded, sizeof padded);
        }
    }
};

// Asks for BYTES of LANES rows, of those of VECTORS vectors, from byte at on; behind the end of the rows for the
// beginning of those that follow all of these. An address beyond the matrix does no harm.
template <int VECTORS, Cache CACHE, int64_t BYTES>
PANAMOE_INLINE void ask(const Byte *w, int64_t stride, int64_t at) {
    const Byte *from = w + at + (at < stride ? 0 : (VECTORS * LANES - 1) * stride);
#pragma GCC unroll 16
    for (int64_t lane = 0; lane < LANES; lane++)
        for (int64_t line = 0; line < BYTES; line += 64) prefetch<CACHE>(from + lane * stride + line);
}

// kBlockBytes of each output from byte at of its row on. Asks for later ones, and for those of the next outputs: not
// far ahead into the first cache, which has to hold them for all outputs until then, and no further than to the next
// block but one where two vectors' are multiplied by many rows, which takes long.
template <class Format, int VECTORS>
PANAMOE_INLINE Rows codes_of(const Outputs<Format> &w, int64_t at) {
    constexpr bool kMany = VECTORS > 1, kFew = LANES == 16 && !kMany;
    constexpr int64_t kStep = kFew ? 128 : 64, kNear = kFew ? 256 : kMany ? 128 : 1024, kFar = kMany ? 256 : 1024;
    if (w.near) {
        if (at % kStep == 0) ask<VECTORS, Cache::kFirst, kStep>(w.codes, w.stride, at + kNear);
    } else {
        if (at % 64 == 0) ask<VECTORS, Cache::kSecond, 64>(w.codes, w.stride, at + kFar);
    }
    return Rows(w.codes, w.stride, w.count, at);
}

// Columns as they lie in memory become vectors of the outputs' columns.
PANAMOE_INLINE void turn(IntVec (&columns)[LANES], const Rows &rows) {
#pragma GCC unroll 16
    for (int64_t lane = 0; lane < LANES; lane++) columns[lane] = rows.load(lane);
    transpose(columns);
}

// Scales of kScaleGroups groups from group on: the even ones in the low halves of lanes.
template <int VECTORS, class Format>
PANAMOE_INLINE void turn_scales(IntVec (&scales)[LANES], const Outputs<Format> &w, int64_t group) {
    int64_t at = group * kGroupScaleBytes;
    if (at % 64 == 0) {
        if (w.near)
            ask<VECTORS, Cache::kFirst, 64>(w.scales, w.scale_stride, at + 128);
        else
            ask<VECTORS, Cache::kSecond, 64>(w.scales, w.scale_stride, at + 128);
    }
    turn(scales, Rows(w.scales, w.scale_stride, w.count, at));
}

// Vectors of codes, as dot takes them, from a stored one; returns the place behind them.
template <class Format>
PANAMOE_INLINE IntVec *unpack(IntVec *codes, IntVec stored) {
    auto some = bits<BitVec>(stored);
    if constexpr (kNibbles<Format>) {
        *codes++ = bits<IntVec>(some & 0x0f0f0f0fu);
        *codes++ = bits<IntVec>(some >> 4 & 0x0f0f0f0fu);
    } else {
        *codes++ = bits<IntVec>(Format::kOffset == 128 ? some ^ 0x80808080u : some);
    }
    return codes;
}

// ROWS rows of x: of the same group of all of them.
template <int ROWS>
struct Groups {
    const Byte *x[ROWS];

    PANAMOE_INLINE Groups(const IntegerGemm &g, int64_t row) {
        for (int r = 0; r < ROWS; r++) x[r] = g.x + (row + r) * g.x_stride;
    }

    PANAMOE_INLINE Vec scale(int r, int64_t at) const {
        float value;
        __builtin_memcpy(&value, x[r] + at + offsetof(QuantizedGroup, scale), sizeof value);
        return broadcast(value);
    }
    PANAMOE_INLINE IntVec start(int r, int64_t at) const {
        return IntVec{} + load_int(x[r] + at + offsetof(QuantizedGroup, start));
    }
    PANAMOE_INLINE IntVec quad(int r, int64_t at, int64_t i) const { return IntVec{} + load_int(x[r] + at + 4 * i); }
};

constexpr int64_t kGroupBytes = static_cast<int64_t>(sizeof(QuantizedGroup));

PANAMOE_INLINE void store_outputs(float *y, Vec sums, int64_t left) {
    if (left >= LANES)
        store(y, sums);
    else
        store(y, sums, left);
}

// Adds to the sums of rows [row, row + ROWS) what a group of columns gives, which lies at bytes into a row of x: for
// VECTORS vectors of outputs, with their codes and scales.
template <class Format, int ROWS, int VECTORS>
PANAMOE_INLINE void add_group(Vec *sums, const IntegerGemm &g, int64_t row, int64_t at, const IntVec *codes,
                              const Vec (&scales)[VECTORS]) {
    Groups<ROWS> x(g, row);
    Dots<Format> dots[ROWS][VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) dots[r][v] = Dots<Format>(x.start(r, at));
#pragma GCC unroll 8
    for (int64_t q = 0; q < kQuads; q++)
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
            for (int v = 0; v < VECTORS; v++) dots[r][v].add(codes[v * kQuads + q], x.quad(r, at, q));
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) {
            Vec &sum = sums[(row + r) * VECTORS + v];
            sum =
                fused(__builtin_convertvector(dots[r][v].total(x.start(r, at)), Vec), x.scale(r, at) * scales[v], sum);
        }
}

// All rows of the outputs [f, to), of at most VECTORS vectors of them and at least one of the last: FEW rows, whose
// sums stay in registers, or, where that is 0, any number, with sums in memory.
template <class Format, int FEW, int VECTORS>
void multiply_outputs(const IntegerGemm &g, int64_t f, int64_t to, Vec *sums_T) {
    // A group's codes are stored in so many vectors of columns: a part of a block of LANES, or some blocks.
    constexpr int64_t kStored = Format::bytes(kGroup) / 4, kBlocks = LANES < kStored ? kStored / LANES : 1,
                      kGroups = kBlocks * LANES / kStored;
    Outputs<Format> w[VECTORS];
    for (int v = 0; v < VECTORS; v++) w[v] = Outputs<Format>(g.w, f + v * LANES, to);
    Vec few[FEW > 0 ? FEW * VECTORS : 1] = {};
    Vec *sums = FEW > 0 ? few : sums_T;
    if constexpr (FEW == 0) __builtin_memset(sums, 0, static_cast<size_t>(g.T) * VECTORS * sizeof *sums);
    int64_t groups = QuantizedRow::groups(g.w.D);
    for (int64_t from = 0; from < groups; from += kScaleGroups) {
        int64_t end = groups - from < kScaleGroups ? groups : from + kScaleGroups;
        IntVec scales[VECTORS][LANES];
        for (int v = 0; v < VECTORS; v++) turn_scales<VECTORS>(scales[v], w[v], from);
        for (int64_t j = from; j < end; j += kGroups) {
            IntVec stored[VECTORS][kBlocks][LANES];
#pragma GCC unroll 2
            for (int v = 0; v < VECTORS; v++)
#pragma GCC unroll 2
                for (int64_t b = 0; b < kBlocks; b++)
                    turn(stored[v][b], codes_of<Format, VECTORS>(w[v], j * Format::bytes(kGroup) + b * kBlockBytes));
            auto *turned = stored;
            // Not in registers, which GCC would rather give to them than to sums.
            if constexpr (VECTORS > 1) asm("" : "+r"(turned) : : "memory");
#pragma GCC unroll 4
            for (int64_t i = 0; i < kGroups; i++) {
                if (i > 0 && j + i >= end) break;
                IntVec codes[VECTORS * kQuads], *next = codes;
                Vec scale[VECTORS];
#pragma GCC unroll 2
                for (int u = 0; u < VECTORS; u++) {
#pragma GCC unroll 8
                    for (int64_t v = i * kStored; v < (i + 1) * kStored; v++)
                        next = unpack<Format>(next, turned[u][v / LANES][v % LANES]);
                    BitVec pair = bits<BitVec>(scales[u][(j + i - from) / 2]);
                    scale[u] = bits<Vec>(pair << ((j + i - from) % 2 == 0 ? 16 : 0) & 0xffff0000u);
                }
                const IntVec *kept = codes;
                // From memory, where registers do not hold them beside the sums; GCC would rather spill the sums.
                if constexpr (FEW == 0 && LANES < 16) asm("" : "+r"(kept) : : "memory");
                auto add = [&](auto rows, int64_t row) __attribute__((always_inline)) {
                    add_group<Format, decltype(rows)::kValue, VECTORS>(sums, g, row, (j + i) * kGroupBytes, kept,
                                                                       scale);
                };
                if constexpr (FEW > 0)
                    add(Count<FEW>{}, 0);
                else
                    each_tile<VECTORS == 1 ? kRows : kRowsOfTwo>(g.T, add);
            }
        }
    }
    for (int64_t t = 0; t < (FEW > 0 ? FEW : g.T); t++)
        for (int v = 0; v < VECTORS; v++)
            store_outputs(g.y + t * g.y_stride + f + v * LANES, sums[t * VECTORS + v], to - f - v * LANES);
}

// A group of values and its largest magnitude, as bits: among those, NaN is above infinity, and that above all others.
struct Group {
    static constexpr int64_t kVectors = kGroup / LANES;
    Vec value[kVectors];

    Group(const float *x, int64_t n) {
        float padded[kGroup];
        if (n < kGroup) [[unlikely]] {
            __builtin_memset(padded, 0, sizeof padded);
            __builtin_memcpy(padded, x, static_cast<size_t>(n) * sizeof(float));
            x = padded;
        }
#pragma GCC unroll 8
        for (int64_t i = 0; i < kVectors; i++) value[i] = load(x + i * LANES);
    }

    int32_t magnitude() const {
        IntVec all{};
#pragma GCC unroll 8
        for (int64_t i = 0; i < kVectors; i++) {
            IntVec each = bits<IntVec>(value[i]) & 0x7fffffff;
            all = each > all ? each : all;
        }
        return most(all);
    }
};

constexpr int32_t kInfinity = 0x7f800000;

template <class Format>
void quantize_row(Byte *row, const float *x, int64_t D) {
    int64_t groups = QuantizedRow::groups(D);
    for (int64_t j = 0; j < groups; j++, row += kGroupBytes) {
        Group group(x + j * kGroup, D - j * kGroup < kGroup ? D - j * kGroup : kGroup);
        int32_t magnitude = group.magnitude();
        float largest;
        __builtin_memcpy(&largest, &magnitude, 4);
        float scale = magnitude < kInfinity ? largest / 127.0f : __builtin_nanf("");
        if (!(scale > 0)) {
            QuantizedGroup nothing = {.codes = {}, .scale = scale, .start = 0};
            __builtin_memcpy(row, &nothing, sizeof nothing);
            continue;
        }
        IntVec total{}, all[Group::kVectors];
#pragma GCC unroll 8
        for (int64_t i = 0; i < Group::kVectors; i++) {
            // Adding 1.5 * 2^23 rounds to an integer, found in the low bits.
            Vec magic = broadcast(12582912.0f);
            IntVec code = bits<IntVec>(group.value[i] / broadcast(scale) + magic) - bits<IntVec>(magic);
            code = code > 127 ? IntVec{} + 127 : code;  // where scale is subnormal, it may be much below amax / 127
            code = code < -127 ? IntVec{} - 127 : code;
            total += code;
            all[i] = code;
        }
        static_assert(kNarrowed == kGroup);
        store_narrow(row, all);
        int32_t start = -Format::kOffset * sum(total);
        __builtin_memcpy(row + offsetof(QuantizedGroup, scale), &scale, sizeof scale);
        __builtin_memcpy(row + offsetof(QuantizedGroup, start), &start, sizeof start);
        if constexpr (Format::bytes(2) == 1) {
            // Of eight columns the even ones, then the odd: as the halves of four bytes are multiplied.
            typedef Byte Columns __attribute__((vector_size(16)));
            for (int64_t i = 0; i < kGroup; i += 16) {
                Columns c;
                __builtin_memcpy(&c, row + i, sizeof c);
                c = __builtin_shufflevector(c, c, 0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
                __builtin_memcpy(row + i, &c, sizeof c);
            }
        }
    }
}

template <class Body>
PANAMOE_INLINE void with_integer_format(int32_t id, Body body) {
    with_format(id, [&](auto format) {
        if constexpr (kInteger<decltype(format)>) body(format);
    });
}

}  // namespace

void quantize(Byte *row, const float *x, int64_t D, int32_t format) {
    with_integer_format(format, [&](auto stored) { quantize_row<decltype(stored)>(row, x, D); });
}

void gemm_integer(const IntegerGemm &g, int64_t from, int64_t to, void *scratch) {
    with_integer_format(g.w.format, [&](auto stored) {
        using Format = decltype(stored);
        auto *sums = static_cast<Vec *>(scratch);
        auto each = [&](auto few) {
            constexpr int kFew = decltype(few)::kValue, kVectors = kFew == 0 && LANES == 16 ? 2 : 1;
            for (int64_t f = from; f < to;) {
                if (kVectors > 1 && g.T >= kRowsForTwo<Format> && to - f > LANES) {
                    multiply_outputs<Format, kFew, kVectors>(g, f, to, sums);
                    f += kVectors * LANES;
                } else {
                    multiply_outputs<Format, kFew, 1>(g, f, to, sums);
                    f += LANES;
                }
            }
        };
        switch (g.T) {
            case 1: return each(Count<1>{});
            case 2: return each(Count<2>{});
            case 3: return each(Count<3>{});
            case 4: return each(Count<4>{});
            default: return each(Count<0>{});
        }
    });
}

}  // namespace panamoe::PANAMOE_ISA
