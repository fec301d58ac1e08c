// gemm and grouped_gemm of the integer formats: y[t][f] = sum over groups of sum_g * (scale_x * scale_w), where sum_g
// is the exact int32 sum of products of codes. panamoe.h has the definition, operation by operation.
//
// Few rows: bound by memory, the weights pass once. Codes are multiplied where they lie, LANES outputs side by side,
// and the lanes of each output's group are added up while outputs take the places of columns. Many rows: bound by
// arithmetic. A panel of outputs is turned first, so that a vector holds four columns of LANES outputs: an accumulator
// belongs to LANES outputs, nothing is added across lanes, and x is broadcast, four codes at a time. Both give the bits
// of the definition, whatever the instruction set. The scales are turned in either way.
#include "formats.hpp"
#include "tiles.hpp"

namespace panamoe::PANAMOE_ISA {
namespace {

// Up to kStreamRows rows, codes are multiplied as they lie; up to kFewRows, a panel of one vector of outputs is turned,
// so that little memory is asked for at once and reading it goes on all the time; beyond, one of kVecs, whose tiles
// with kTileRows rows fill the registers.
constexpr int kVecs = 2;
constexpr int64_t kStreamRows = LANES > 4 ? 4 : 0, kFewRows = 8;
constexpr int64_t kQuads = kGroup / 4;   // vectors of codes in a group
constexpr int64_t kPanelGroups = LANES;  // as many as turning their scales takes at once
constexpr int64_t kPanelColumns = kPanelGroups * kGroup;

template <class Format>
constexpr bool kNibbles = Format::bytes(2) == 1;

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

// VECS vectors of outputs: the codes and scales of some groups, and the sums so far.
template <int VECS>
struct Panel {
    IntVec codes[kPanelGroups * kQuads][VECS];
    Vec scale[kPanelGroups][VECS];
    Vec sums[kGemmRows][VECS];
};
static_assert(sizeof(Panel<kVecs>) <= 256 * 1024);

// The rows of w that are the outputs of one vector.
template <class Format>
struct Outputs {
    const Byte *codes, *scales;
    int64_t stride, scale_stride, count;
    bool near;

    Outputs(const Matrix &w, int64_t f, int64_t to) {
        stride = Format::bytes(w.D);
        scale_stride = QuantizedRow::groups(w.D) * 4;
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
            copy_rows(copy, from, stride, count, w_stride - at);
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

// Asks for BYTES of LANES rows from byte at on; behind the end of the rows for the beginning of the next ones. An
// address beyond the matrix does no harm.
template <Cache CACHE, int64_t BYTES>
PANAMOE_INLINE void ask(const Byte *w, int64_t stride, int64_t at) {
    const Byte *from = w + at + (at < stride ? 0 : (LANES - 1) * stride);
#pragma GCC unroll 16
    for (int64_t lane = 0; lane < LANES; lane++)
        for (int64_t line = 0; line < BYTES; line += 64) prefetch<CACHE>(from + lane * stride + line);
}

template <bool ONCE, int64_t BYTES>
PANAMOE_INLINE void ask(bool near, const Byte *w, int64_t stride, int64_t at) {
    if constexpr (!ONCE)
        ask<Cache::kAll, BYTES>(w, stride, at);
    else if (near)
        ask<Cache::kFirst, BYTES>(w, stride, at);
    else
        ask<Cache::kSecond, BYTES>(w, stride, at);
}

// kBlockBytes of each output from byte at of its row on. Asks for later ones, and for those of the next outputs; what
// is read ONCE need not be kept.
template <bool ONCE, class Format>
PANAMOE_INLINE Rows codes_of(const Outputs<Format> &w, int64_t at) {
    constexpr int64_t kStep = 128;
    if (at % kStep == 0) ask<ONCE, kStep>(w.near, w.codes, w.stride, at + 1024);
    return Rows(w.codes, w.stride, w.count, at);
}

// Scales of groups [d / kGroup, ...) of n columns: to[stride * j] gets those of group j.
template <bool ONCE, class Format>
PANAMOE_INLINE void turn_scales(Vec *to, int64_t stride, const Outputs<Format> &w, int64_t d, int64_t n) {
    int64_t groups = QuantizedRow::groups(n), at = d / kGroup * 4;
    if (at % 64 == 0) ask<ONCE, 64>(w.near, w.scales, w.scale_stride, at + 128);
    Rows rows(w.scales, w.scale_stride, w.count, at);
    IntVec scales[LANES];
#pragma GCC unroll 16
    for (int64_t lane = 0; lane < LANES; lane++) scales[lane] = rows.load(lane);
    transpose(scales);
    for (int64_t j = 0; j < groups; j++) to[stride * j] = bits<Vec>(scales[j]);
}

// Puts columns [d, d + n) of the outputs into the panel's vec-th vectors. The codes beyond n meet zeros in x.
template <class Format, int VECS>
void turn(Panel<VECS> &panel, int64_t vec, const Outputs<Format> &w, int64_t d, int64_t n) {
    int64_t bytes = Format::bytes(n), at = Format::bytes(d);
    auto *codes = &panel.codes[0][vec];
    auto put = [&](BitVec vector) __attribute__((always_inline)) {
        *codes = bits<IntVec>(vector);
        codes += VECS;
    };
    for (int64_t b = 0; b < bytes; b += kBlockBytes) {
        Rows block = codes_of<false>(w, at + b);
        IntVec rows[LANES];
#pragma GCC unroll 16
        for (int64_t lane = 0; lane < LANES; lane++) rows[lane] = block.load(lane);
        transpose(rows);
#pragma GCC unroll 16
        for (int64_t i = 0; i < LANES; i++) {
            if constexpr (kNibbles<Format>) {
                put(bits<BitVec>(rows[i]) & 0x0f0f0f0fu);
                put(bits<BitVec>(rows[i]) >> 4 & 0x0f0f0f0fu);
            } else {
                put(Format::kOffset == 128 ? bits<BitVec>(rows[i]) ^ 0x80808080u : bits<BitVec>(rows[i]));
            }
        }
    }
    turn_scales<false>(&panel.scale[0][vec], VECS, w, d, n);
}

// Rows [row, row + ROWS) of the outputs [f, to), of at most LANES of them.
template <class Format, int ROWS>
void stream_tile(const IntegerGemm &g, int64_t row, int64_t f, int64_t to) {
    constexpr int64_t kBlockColumns = kNibbles<Format> ? 2 * kBlockBytes : kBlockBytes,
                      kBlockGroups = kBlockColumns / kGroup;
    static_assert((kBlockGroups - 1) * kGroup <= QuantizedRow::kBeyond);
    Outputs<Format> w(g.w, f, to);
    QuantizedRow x[ROWS];
    for (int r = 0; r < ROWS; r++) x[r] = QuantizedRow(g.x + (row + r) * g.x_stride, g.w.D);
    Vec sums[ROWS] = {};
    for (int64_t d = 0; d < g.w.D; d += kPanelColumns) {
        int64_t n = g.w.D - d < kPanelColumns ? g.w.D - d : kPanelColumns, groups = QuantizedRow::groups(n);
        Vec scale[kPanelGroups];
        turn_scales<true>(scale, 1, w, d, n);
        for (int64_t j = 0; j < groups; j += kBlockGroups) {
            int64_t at = Format::bytes(d + j * kGroup), first = d / kGroup + j;
            IntVec low[ROWS], high[ROWS];
            for (int r = 0; r < ROWS; r++) {
                const Byte *codes = x[r].codes + first * kGroup;
                low[r] = bits<IntVec>(load(codes));
                if constexpr (kNibbles<Format>) {
                    IntVec more = bits<IntVec>(load(codes + kBlockBytes));
                    high[r] = odd_lanes(low[r], more);
                    low[r] = even_lanes(low[r], more);
                }
            }
            IntVec products[ROWS][kQuarters];
            Rows block = codes_of<true>(w, at);
#pragma GCC unroll 4
            for (int64_t q = 0; q < kQuarters; q++) {
                IntVec quad[ROWS][4];
#pragma GCC unroll 4
                for (int64_t i = 0; i < 4; i++) {
                    IntVec codes = block.load(4 * q + i);
                    if constexpr (Format::kOffset == 128) codes = bits<IntVec>(bits<BitVec>(codes) ^ 0x80808080u);
#pragma GCC unroll 4
                    for (int r = 0; r < ROWS; r++) {
                        if constexpr (kNibbles<Format>) {
                            Dots<Format> dots(IntVec{});
                            dots.add(codes & 0x0f0f0f0f, low[r]);
                            dots.add(bits<IntVec>(bits<BitVec>(codes) >> 4) & 0x0f0f0f0f, high[r]);
                            quad[r][i] = dots.total(IntVec{});
                        } else {
                            quad[r][i] = dot<Format::kOffset == 0>(IntVec{}, codes, low[r]);
                        }
                    }
                }
#pragma GCC unroll 4
                for (int r = 0; r < ROWS; r++) products[r][q] = sum_quarters(quad[r]);
            }
#pragma GCC unroll 4
            for (int r = 0; r < ROWS; r++) {
                transpose_quarters(products[r]);
#pragma GCC unroll 4
                for (int64_t i = 0; i < kBlockGroups; i++) {
                    if (i > 0 && j + i >= groups) break;
                    constexpr int64_t kParts = kQuarters / kBlockGroups;
                    IntVec sum = products[r][i * kParts] + x[r].start[first + i];
                    if constexpr (kParts == 2) sum += products[r][i * kParts + 1];
                    sums[r] = fused(__builtin_convertvector(sum, Vec), broadcast(x[r].scale[first + i]) * scale[j + i],
                                    sums[r]);
                }
            }
        }
    }
    for (int r = 0; r < ROWS; r++) {
        float *y = g.y + (row + r) * g.y_stride + f;
        if (to - f >= LANES)
            store(y, sums[r]);
        else
            store(y, sums[r], to - f);
    }
}

// Adds to the sums of rows [row, row + ROWS) what the panel's groups give.
template <class Format, int ROWS, int VECS>
void multiply_tile(Panel<VECS> &panel, const IntegerGemm &g, int64_t row, int64_t d, int64_t n) {
    int64_t groups = QuantizedRow::groups(n);
    const Byte *codes[ROWS];
    const float *scale[ROWS];
    const int32_t *start[ROWS];
    Vec sums[ROWS][VECS];
    for (int r = 0; r < ROWS; r++) {
        QuantizedRow x(g.x + (row + r) * g.x_stride, g.w.D);
        codes[r] = x.codes + d;
        scale[r] = x.scale + d / kGroup;
        start[r] = x.start + d / kGroup;
        for (int v = 0; v < VECS; v++) sums[r][v] = panel.sums[row + r][v];
    }
    for (int64_t j = 0; j < groups; j++) {
        Dots<Format> dots[ROWS][VECS];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
            for (int v = 0; v < VECS; v++) dots[r][v] = Dots<Format>(IntVec{} + start[r][j]);
#pragma GCC unroll 8
        for (int64_t i = 0; i < kQuads; i++) {
            IntVec w[VECS];
#pragma GCC unroll 8
            for (int v = 0; v < VECS; v++) w[v] = panel.codes[j * kQuads + i][v];
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) {
                IntVec x = IntVec{} + load_int(codes[r] + (j * kQuads + i) * 4);
#pragma GCC unroll 8
                for (int v = 0; v < VECS; v++) dots[r][v].add(w[v], x);
            }
        }
#pragma GCC unroll 8
        for (int v = 0; v < VECS; v++) {
            Vec scale_w = panel.scale[j][v];
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++)
                sums[r][v] = fused(__builtin_convertvector(dots[r][v].total(IntVec{} + start[r][j]), Vec),
                                   broadcast(scale[r][j]) * scale_w, sums[r][v]);
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < VECS; v++) panel.sums[row + r][v] = sums[r][v];
}

// Outputs [from, to), at most VECS vectors of them.
template <class Format, int VECS>
void multiply_panel(Panel<VECS> &panel, const IntegerGemm &g, int64_t from, int64_t to) {
    int64_t vecs = (to - from + LANES - 1) / LANES;
    __builtin_memset(panel.sums, 0, static_cast<size_t>(g.T) * sizeof panel.sums[0]);
    for (int64_t d = 0; d < g.w.D; d += kPanelColumns) {
        int64_t n = g.w.D - d < kPanelColumns ? g.w.D - d : kPanelColumns;
        for (int64_t vec = 0; vec < vecs; vec++) turn(panel, vec, Outputs<Format>(g.w, from + vec * LANES, to), d, n);
        each_row_tile(
            g.T, [&](auto rows, int64_t row) { multiply_tile<Format, decltype(rows)::kValue>(panel, g, row, d, n); });
    }
    for (int64_t t = 0; t < g.T; t++)
        for (int64_t vec = 0; vec < vecs; vec++) {
            float *y = g.y + t * g.y_stride + from + vec * LANES;
            int64_t left = to - from - vec * LANES;
            if (left >= LANES)
                store(y, panel.sums[t][vec]);
            else
                store(y, panel.sums[t][vec], left);
        }
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
    Byte *codes = row;
    Byte *scales = row + groups * kGroup, *starts = scales + groups * 4;
    for (int64_t j = 0; j < groups; j++, codes += kGroup, scales += 4, starts += 4) {
        Group group(x + j * kGroup, D - j * kGroup < kGroup ? D - j * kGroup : kGroup);
        int32_t magnitude = group.magnitude();
        float largest;
        __builtin_memcpy(&largest, &magnitude, 4);
        float scale = magnitude < kInfinity ? largest / 127.0f : __builtin_nanf("");
        __builtin_memcpy(scales, &scale, 4);
        if (!(scale > 0)) {
            __builtin_memset(codes, 0, kGroup);
            __builtin_memset(starts, 0, 4);
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
        store_narrow(codes, all);
        int32_t start = -Format::kOffset * sum(total);
        __builtin_memcpy(starts, &start, 4);
        if constexpr (Format::bytes(2) == 1) {
            // Of eight columns the even ones, then the odd: as the halves of four bytes are multiplied.
            typedef Byte Columns __attribute__((vector_size(16)));
            for (int64_t i = 0; i < kGroup; i += 16) {
                Columns c;
                __builtin_memcpy(&c, codes + i, sizeof c);
                c = __builtin_shufflevector(c, c, 0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
                __builtin_memcpy(codes + i, &c, sizeof c);
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
        auto panels = [&](auto vecs) {
            constexpr int kWide = decltype(vecs)::kValue;
            for (int64_t f = from; f < to; f += kWide * LANES)
                multiply_panel<Format>(*static_cast<Panel<kWide> *>(scratch), g, f,
                                       to - f < kWide * LANES ? to : f + kWide * LANES);
        };
        if (g.T > kFewRows) {
            panels(Count<kVecs>{});
        } else if (g.T > kStreamRows) {
            panels(Count<1>{});
        } else {
            for (int64_t f = from; f < to; f += LANES)
                each_row_tile(g.T, [&](auto rows, int64_t row) {
                    constexpr int kRows = decltype(rows)::kValue;
                    if constexpr (kRows <= kStreamRows) stream_tile<Format, kRows>(g, row, f, to);
                });
        }
    });
}

}  // namespace panamoe::PANAMOE_ISA
