// A vector of LANES floats, and the few things the kernels do with one.
//
// GCC's vector types carry the arithmetic, so one source serves every instruction set; what the compiler does badly
// (fused multiply-add, widening) is spelled out below. Everything lies in an unnamed namespace: code of one instruction
// set must never be linked into another, nor offered to it as a weak symbol. For the same reason no standard library.
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "isa.hpp"

namespace panamoe::PANAMOE_ISA {
namespace {

constexpr int64_t LANES = PANAMOE_LANES;

typedef float Vec __attribute__((vector_size(LANES * 4)));
typedef int32_t IntVec __attribute__((vector_size(LANES * 4)));
typedef uint32_t BitVec __attribute__((vector_size(LANES * 4)));

#define PANAMOE_INLINE [[gnu::always_inline]] inline
#if defined(__clang__)  // which makes no clones
#define PANAMOE_NOCLONE
#else
#define PANAMOE_NOCLONE __attribute__((noclone))
#endif

PANAMOE_INLINE Vec broadcast(float x) { return x - Vec{}; }  // x - 0 is x, for -0 and NaN as well

PANAMOE_INLINE Vec load(const void *from) {
    Vec v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
}

// n < LANES floats; the other lanes are 0.
PANAMOE_INLINE Vec load(const void *from, int64_t n) {
    Vec v{};
    __builtin_memcpy(&v, from, static_cast<size_t>(n) * 4);
    return v;
}

PANAMOE_INLINE void store(float *to, Vec v) { __builtin_memcpy(to, &v, sizeof v); }

PANAMOE_INLINE void store(float *to, Vec v, int64_t n) { __builtin_memcpy(to, &v, static_cast<size_t>(n) * 4); }

template <class To, class From>
PANAMOE_INLINE To bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}

PANAMOE_INLINE int32_t load_int(const Byte *from) {
    int32_t value;
    __builtin_memcpy(&value, from, sizeof value);
    return value;
}

// A vector of two halves.
template <class To, class Half>
PANAMOE_INLINE To join(Half low, Half high) {
    struct {
        Half low, high;
    } halves = {low, high};
    return bits<To>(halves);
}

// a * b + c, rounded once where the instruction set can. Compiled with -ffp-contract=off: the compiler fuses nothing by
// itself, so every instantiation of a kernel rounds alike.
PANAMOE_INLINE Vec fma(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
    return Vec(_mm512_fmadd_ps(__m512(a), __m512(b), __m512(c)));
#elif defined(__FMA__) && PANAMOE_LANES == 8
    return Vec(_mm256_fmadd_ps(__m256(a), __m256(b), __m256(c)));
#elif defined(__FMA__) && PANAMOE_LANES == 16
    struct Halves {
        __m256 low, high;
    };
    Halves x = bits<Halves>(a), y = bits<Halves>(b), z = bits<Halves>(c);
    return join<Vec>(_mm256_fmadd_ps(x.low, y.low, z.low), _mm256_fmadd_ps(x.high, y.high, z.high));
#elif defined(__aarch64__)
    return Vec(vfmaq_f32(float32x4_t(c), float32x4_t(a), float32x4_t(b)));
#else
    return a * b + c;
#endif
}

// a * b + c, rounded once on every instruction set: where that is no instruction, the exact product of two floats is a
// double, and their sum, rounded to odd, then rounds to the float that the exact sum rounds to.
PANAMOE_INLINE Vec fused(Vec a, Vec b, Vec c) {
#if defined(__FMA__) || defined(__aarch64__)
    return fma(a, b, c);
#else
    typedef double Doubles __attribute__((vector_size(LANES * 8)));
    typedef int64_t Words __attribute__((vector_size(LANES * 8)));
    Doubles product = __builtin_convertvector(a, Doubles) * __builtin_convertvector(b, Doubles);
    Doubles term = __builtin_convertvector(c, Doubles), sum = product + term, added = sum - product;
    Doubles rest =
        (product - (sum - added)) + (term - added);  // what rounding took from the sum; NaN where it is infinite
    Words inexact = (rest > 0) | (rest < 0), even = (bits<Words>(sum) & 1) == 0;
    Words away = (rest > 0) == (sum > 0);  // from zero: one more, else one less
    Words odd = bits<Words>(sum) + ((inexact & even) & (away ? Words{} + 1 : Words{} - 1));
    return __builtin_convertvector(bits<Doubles>(odd), Vec);
#endif
}

// ---- Products of bytes ----

// Whether dot takes its first operand unsigned in all of 0..255. Elsewhere it takes 0..127, or SIGNED ones.
#if defined(__AVX512VNNI__)
constexpr bool kUnsignedBytes = true;
#else
constexpr bool kUnsignedBytes = false;
#endif

#if defined(__AVX2__) && !defined(__AVX512VNNI__)
#define PANAMOE_PAIR_DOTS  // dot goes through half words
// Unsigned, because they may wrap in vectors of a panel that hold no outputs.
typedef uint16_t Halfwords __attribute__((vector_size(LANES * 4)));

// f of a vector's halves, where it is two of the machine's.
template <class To, class F, class... Vectors>
PANAMOE_INLINE To each_half(F f, Vectors... v) {
    struct Halves {
        __m256i low, high;
    };
    return join<To>(f(bits<Halves>(v).low...), f(bits<Halves>(v).high...));
}

// Half word i is the sum of the products of w's bytes 2i and 2i + 1, unsigned or SIGNED, with x's.
template <bool SIGNED>
PANAMOE_INLINE Halfwords pair_dots(IntVec w, IntVec x) {
#if defined(__AVX512BW__)
    auto codes = __m512i(w), factors = __m512i(x);
    if constexpr (SIGNED) {
        factors = _mm512_mask_sub_epi8(factors, _mm512_movepi8_mask(codes), __m512i{}, factors);
        codes = _mm512_abs_epi8(codes);
    }
    return Halfwords(_mm512_maddubs_epi16(codes, factors));
#else
    auto products = [](__m256i codes, __m256i factors) {
        if constexpr (SIGNED) {
            factors = _mm256_sign_epi8(factors, codes);
            codes = _mm256_abs_epi8(codes);
        }
        return _mm256_maddubs_epi16(codes, factors);
    };
#if PANAMOE_LANES == 8
    return Halfwords(products(__m256i(w), __m256i(x)));
#else
    return each_half<Halfwords>(products, w, x);
#endif
#endif
}

PANAMOE_INLINE IntVec add_pairs(Halfwords sums) {
#if defined(__AVX512BW__)
    return IntVec(_mm512_madd_epi16(__m512i(sums), _mm512_set1_epi16(1)));
#else
    auto add = [](__m256i pairs) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); };
#if PANAMOE_LANES == 8
    return IntVec(add(__m256i(sums)));
#else
    return each_half<IntVec>(add, sums);
#endif
#endif
}
#endif

// Lane i of acc plus the four products of w's bytes 4i .. 4i + 3, unsigned or SIGNED, with x's, signed. Exact.
template <bool SIGNED>
PANAMOE_INLINE IntVec dot(IntVec acc, IntVec w, IntVec x) {
#if defined(__AVX512VNNI__)
    static_assert(!SIGNED);
    return IntVec(_mm512_dpbusd_epi32(__m512i(acc), __m512i(w), __m512i(x)));
#elif defined(PANAMOE_PAIR_DOTS)
    return acc + add_pairs(pair_dots<SIGNED>(w, x));
#else
    // Bytes 0 and 2 of a lane, then 1 and 3, as half words, in which their products fit.
    typedef int16_t Pairs __attribute__((vector_size(LANES * 4)));
    typedef uint16_t Halfwords __attribute__((vector_size(LANES * 4)));
    Pairs codes = bits<Pairs>(w), factors = bits<Pairs>(x);
    Pairs even = SIGNED ? bits<Pairs>(bits<Halfwords>(codes) << 8) >> 8 : codes & 255;
    Pairs odd = SIGNED ? codes >> 8 : bits<Pairs>(bits<Halfwords>(codes) >> 8);
    IntVec first = bits<IntVec>(even * (bits<Pairs>(bits<Halfwords>(factors) << 8) >> 8));
    IntVec second = bits<IntVec>(odd * (factors >> 8));
    return acc + (bits<IntVec>(bits<BitVec>(first) << 16) >> 16) + (first >> 16) +
           (bits<IntVec>(bits<BitVec>(second) << 16) >> 16) + (second >> 16);
#endif
}

// A sum of start and of up to kMost dots, those of w in 0..15. Half words are added up as such, and start comes last.
struct SmallDots {
    static constexpr int64_t kMost = 8;  // 8 * (15 + 15) * 127 fits a half word
#if defined(PANAMOE_PAIR_DOTS)
    Halfwords sums{};
    PANAMOE_INLINE explicit SmallDots(IntVec = IntVec{}) {}
    PANAMOE_INLINE void add(IntVec w, IntVec x) { sums += pair_dots<false>(w, x); }
    PANAMOE_INLINE IntVec total(IntVec start) const { return start + add_pairs(sums); }
#else
    IntVec sums;
    PANAMOE_INLINE explicit SmallDots(IntVec start = IntVec{}) : sums(start) {}
    PANAMOE_INLINE void add(IntVec w, IntVec x) { sums = dot<false>(sums, w, x); }
    PANAMOE_INLINE IntVec total(IntVec) const { return sums; }
#endif
};

// 32 integers in -128..127 as bytes.
constexpr int64_t kNarrowed = 32;
PANAMOE_INLINE void store_narrow(Byte *to, const IntVec (&v)[kNarrowed / LANES]) {
#if defined(__AVX2__) && !defined(__AVX512F__)
    // GCC would take the vector apart.
    __m256i part[4];
    __builtin_memcpy(part, v, sizeof part);
    __m256i low = _mm256_packs_epi32(part[0], part[1]), high = _mm256_packs_epi32(part[2], part[3]);
    __m256i bytes = _mm256_packs_epi16(low, high);  // the first quarters of all parts, then the second
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), bytes);
#else
    typedef int8_t Narrow __attribute__((vector_size(LANES)));
    for (int64_t i = 0; i < kNarrowed / LANES; i++) {
        Narrow bytes = __builtin_convertvector(v[i], Narrow);
        __builtin_memcpy(to + i * LANES, &bytes, sizeof bytes);
    }
#endif
}

// Shuffles of two vectors that do the same in every quarter of four lanes: lanes x and y of a, each with b's behind it;
// and half x of a, then of b, for vectors of eight bytes a lane.
typedef int64_t WordVec __attribute__((vector_size(LANES * 4)));
#if PANAMOE_LANES == 16
#define PANAMOE_PAIRS(a, b, x, y)                                                                                   \
    __builtin_shufflevector(a, b, x, x + 16, y, y + 16, x + 4, x + 20, y + 4, y + 20, x + 8, x + 24, y + 8, y + 24, \
                            x + 12, x + 28, y + 12, y + 28)
#define PANAMOE_HALVES(a, b, x) __builtin_shufflevector(a, b, x, x + 8, x + 2, x + 10, x + 4, x + 12, x + 6, x + 14)
#elif PANAMOE_LANES == 8
#define PANAMOE_PAIRS(a, b, x, y) __builtin_shufflevector(a, b, x, x + 8, y, y + 8, x + 4, x + 12, y + 4, y + 12)
#define PANAMOE_HALVES(a, b, x) __builtin_shufflevector(a, b, x, x + 4, x + 2, x + 6)
#else
#define PANAMOE_PAIRS(a, b, x, y) __builtin_shufflevector(a, b, x, x + 4, y, y + 4)
#define PANAMOE_HALVES(a, b, x) __builtin_shufflevector(a, b, x, x + 2)
#endif

PANAMOE_INLINE IntVec low_pairs(IntVec a, IntVec b) { return PANAMOE_PAIRS(a, b, 0, 1); }
PANAMOE_INLINE IntVec high_pairs(IntVec a, IntVec b) { return PANAMOE_PAIRS(a, b, 2, 3); }
PANAMOE_INLINE IntVec low_halves(IntVec a, IntVec b) {
    WordVec v = bits<WordVec>(a), w = bits<WordVec>(b);
    return bits<IntVec>(PANAMOE_HALVES(v, w, 0));
}
PANAMOE_INLINE IntVec high_halves(IntVec a, IntVec b) {
    WordVec v = bits<WordVec>(a), w = bits<WordVec>(b);
    return bits<IntVec>(PANAMOE_HALVES(v, w, 1));
}
#undef PANAMOE_PAIRS
#undef PANAMOE_HALVES

constexpr int64_t kQuarters = LANES / 4;

// Turns the quarters of kQuarters vectors: quarter j of vector i becomes quarter i of vector j.
PANAMOE_INLINE void transpose_quarters([[maybe_unused]] IntVec (&v)[kQuarters]) {
#if PANAMOE_LANES == 16
    IntVec left = __builtin_shufflevector(v[0], v[1], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
    IntVec right = __builtin_shufflevector(v[2], v[3], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
    IntVec left2 = __builtin_shufflevector(v[0], v[1], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    IntVec right2 = __builtin_shufflevector(v[2], v[3], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    v[0] = __builtin_shufflevector(left, right, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    v[1] = __builtin_shufflevector(left, right, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    v[2] = __builtin_shufflevector(left2, right2, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    v[3] = __builtin_shufflevector(left2, right2, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
#elif PANAMOE_LANES == 8
    IntVec first = __builtin_shufflevector(v[0], v[1], 0, 1, 2, 3, 8, 9, 10, 11);
    v[1] = __builtin_shufflevector(v[0], v[1], 4, 5, 6, 7, 12, 13, 14, 15);
    v[0] = first;
#endif
}

// Turns LANES rows of LANES values into their columns.
PANAMOE_INLINE void transpose(IntVec (&rows)[LANES]) {
    IntVec column[4][kQuarters];  // [c][i]: column c of each quarter, of rows 4 i to 4 i + 3
#pragma GCC unroll 4
    for (int64_t i = 0; i < kQuarters; i++) {
        IntVec *r = rows + 4 * i;
        IntVec low01 = low_pairs(r[0], r[1]), high01 = high_pairs(r[0], r[1]);
        IntVec low23 = low_pairs(r[2], r[3]), high23 = high_pairs(r[2], r[3]);
        column[0][i] = low_halves(low01, low23);
        column[1][i] = high_halves(low01, low23);
        column[2][i] = low_halves(high01, high23);
        column[3][i] = high_halves(high01, high23);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        transpose_quarters(column[c]);
#pragma GCC unroll 4
        for (int64_t j = 0; j < kQuarters; j++) rows[4 * j + c] = column[c][j];
    }
}

// ---- Weights as they are stored ----

// Where weights are asked to ahead of their use.
enum class Cache { kFirst, kSecond, kAll };  // kFirst passes by the second

template <Cache CACHE>
PANAMOE_INLINE void prefetch(const Byte *at) {
    __builtin_prefetch(at, 0, CACHE == Cache::kFirst ? 0 : CACHE == Cache::kSecond ? 2 : 3);
}

PANAMOE_INLINE void prefetch(bool near, const Byte *at) {
    if (near)
        prefetch<Cache::kFirst>(at);
    else
        prefetch<Cache::kSecond>(at);
}

// Lane i gets byte i, sign-extended and shifted left by 20: an e4m3 code's exponent and mantissa in the places of a
// float's. Bits between sign and exponent are copies of the sign.
PANAMOE_INLINE BitVec widen_codes(const Byte *from) {
#if defined(__AVX512F__)
    return BitVec(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from)))) << 20;
#elif defined(__AVX2__) && PANAMOE_LANES == 8
    return BitVec(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(from)))) << 20;
#elif defined(__AVX2__) && PANAMOE_LANES == 16
    __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
    return join<BitVec>(_mm256_cvtepi8_epi32(codes), _mm256_cvtepi8_epi32(_mm_srli_si128(codes, 8))) << 20;
#else
    typedef int8_t Codes __attribute__((vector_size(16)));
    typedef int16_t Pairs __attribute__((vector_size(16)));
    int32_t four;
    __builtin_memcpy(&four, from, 4);
    Codes c = bits<Codes>(IntVec{four});
    // Each code in all four bytes of its lane, in two steps that every instruction set has; then down to where its
    // lowest bit is bit 20.
    Pairs p = bits<Pairs>(__builtin_shufflevector(c, c, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
    return BitVec(bits<IntVec>(__builtin_shufflevector(p, p, 0, 8, 1, 9, 2, 10, 3, 11)) >> 4);
#endif
}

#if defined(__AVX512VBMI__)
// The upper halves of 128 floats, as bytes.
struct HalfTable {
    alignas(64) Byte low[128], high[128];
};

// Bytes in the order in which Lookup finds what they stand for. It puts halves together in quarters of a vector: bytes
// 0 to 7 of each become the upper halves and, below them, the others of lanes of vectors 0 and 1, bytes 8 to 15 those
// of vectors 2 and 3.
struct LookupOrder {
    alignas(64) Byte of[64];
    constexpr LookupOrder() : of() {
        for (int quarter = 0; quarter < 4; quarter++)
            for (int v = 0; v < 4; v++)
                for (int i = 0; i < 4; i++)
                    of[16 * quarter + v / 2 * 8 + 2 * i + v % 2] = static_cast<Byte>(16 * v + 4 * quarter + i);
    }
};
constexpr LookupOrder kLookupOrder;

// Finds 4 * LANES floats at once: vector i those of bytes i * LANES on, by their lower seven bits, and with their bit 7
// for a sign.
struct Lookup {
    __m512i order, low[2], high[2];

    PANAMOE_INLINE explicit Lookup(const HalfTable &table)
        : order(_mm512_load_si512(kLookupOrder.of)),
          low{_mm512_load_si512(table.low), _mm512_load_si512(table.low + 64)},
          high{_mm512_load_si512(table.high), _mm512_load_si512(table.high + 64)} {
        // GCC would load them again and again.
        asm("" : "+v"(order), "+v"(low[0]), "+v"(low[1]), "+v"(high[0]), "+v"(high[1]));
    }

    PANAMOE_INLINE void find(Vec (&to)[4], const Byte *from) const {
        __m512i codes = _mm512_permutexvar_epi8(order, _mm512_loadu_si512(from));
        __m512i lows = _mm512_permutex2var_epi8(low[0], codes, low[1]);
        __m512i highs = _mm512_permutex2var_epi8(high[0], codes, high[1]);
        highs = _mm512_ternarylogic_epi32(highs, codes, _mm512_set1_epi8(-128), 0xf8);  // highs | (codes & -128)
        BitVec pairs[2] = {BitVec(_mm512_unpacklo_epi8(lows, highs)), BitVec(_mm512_unpackhi_epi8(lows, highs))};
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            to[2 * i] = bits<Vec>(pairs[i] << 16);
            to[2 * i + 1] = bits<Vec>(pairs[i] & 0xffff0000u);
        }
    }
};
#endif

// Lane i gets byte i, sign-extended.
PANAMOE_INLINE IntVec widen_bytes(const Byte *from) {
#if defined(__AVX512F__)
    return IntVec(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from))));
#elif defined(__AVX2__) && PANAMOE_LANES == 8
    return IntVec(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(from))));
#else
    return bits<IntVec>(widen_codes(from)) >> 20;
#endif
}

#if defined(__AVX512F__)
// Lane i gets the one of table's lanes that half byte i names, the low half of a byte first.
PANAMOE_INLINE Vec look_up(Vec table, const Byte *halves) {
    __m512i words = _mm512_mask_set1_epi32(_mm512_set1_epi32(load_int(halves)), 0xff00, load_int(halves + 4));
    __m512i shifts = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    return Vec(_mm512_permutexvar_ps(_mm512_srlv_epi32(words, shifts), __m512(table)));
}
#endif

// Lane i gets bfloat16 i as a float.
PANAMOE_INLINE Vec widen_bf16(const Byte *from) {
#if defined(__AVX512F__)
    __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
    return bits<Vec>(BitVec(_mm512_cvtepu16_epi32(halves)) << 16);
#elif defined(__AVX2__) && PANAMOE_LANES == 8
    __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
    return bits<Vec>(BitVec(_mm256_cvtepu16_epi32(halves)) << 16);
#elif defined(__AVX2__) && PANAMOE_LANES == 16
    __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
    __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from + 16));
    return bits<Vec>(join<BitVec>(_mm256_cvtepu16_epi32(low), _mm256_cvtepu16_epi32(high)) << 16);
#else
    typedef uint16_t Halfwords __attribute__((vector_size(16)));
    typedef int64_t Words __attribute__((vector_size(16)));
    int64_t four;
    __builtin_memcpy(&four, from, 8);
    Halfwords h = bits<Halfwords>(Words{four});
    return bits<Vec>(__builtin_shufflevector(Halfwords{}, h, 0, 8, 1, 9, 2, 10, 3, 11));
#endif
}

// Whether any of the bytes is not 0: each is all ones or 0, as comparing gives them.
template <class Mask>
PANAMOE_INLINE bool any_of(Mask mask) {
#if defined(__AVX512BW__)
    static_assert(sizeof(Mask) == 64);
    return _mm512_movepi8_mask(__m512i(mask)) != 0;
#elif defined(__AVX2__)
    struct {
        __m256i part[sizeof(Mask) / 32];
    } parts = bits<decltype(parts)>(mask);
    __m256i any = parts.part[0];
    for (size_t i = 1; i < sizeof(Mask) / 32; i++) any |= parts.part[i];
    return _mm256_movemask_epi8(any) != 0;
#else
    struct {
        uint64_t part[sizeof(Mask) / 8];
    } parts = bits<decltype(parts)>(mask);
    uint64_t any = 0;
    for (uint64_t part : parts.part) any |= part;
    return any != 0;
#endif
}

// The one tree in which lanes come together: the upper half onto the lower, until two are left.
template <class V, class Join>
PANAMOE_INLINE V fold(V v, Join join) {
#if PANAMOE_LANES == 16
    v = join(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    v = join(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
    return join(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
#elif PANAMOE_LANES == 8
    v = join(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3));
    return join(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5));
#else
    return join(v, __builtin_shufflevector(v, v, 2, 3, 0, 1));
#endif
}

PANAMOE_INLINE float sum(Vec v) {
    v = fold(
        v, [](Vec a, Vec b) __attribute__((always_inline)) { return a + b; });
    return v[0] + v[1];
}

PANAMOE_INLINE int32_t sum(IntVec v) {
    v = fold(
        v, [](IntVec a, IntVec b) __attribute__((always_inline)) { return a + b; });
    return v[0] + v[1];
}

PANAMOE_INLINE int32_t most(IntVec v) {
    v = fold(
        v, [](IntVec a, IntVec b) __attribute__((always_inline)) { return a > b ? a : b; });
    return v[0] > v[1] ? v[0] : v[1];
}

// The sums of N vectors, each by the same tree as sum. Four at once: a vector's halves are added beside another's, so
// that no addition works on half a vector.
template <int N>
PANAMOE_INLINE void sum_each(const Vec (&v)[N], float (&sums)[N]) {
    int i = 0;
#if PANAMOE_LANES == 16
    for (; i + 4 <= N; i += 4) {
        Vec ab = __builtin_shufflevector(v[i], v[i + 1], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
                 __builtin_shufflevector(v[i], v[i + 1], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
        Vec cd =
            __builtin_shufflevector(v[i + 2], v[i + 3], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
            __builtin_shufflevector(v[i + 2], v[i + 3], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
        Vec all = __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
                  __builtin_shufflevector(ab, cd, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
        all += __builtin_shufflevector(all, all, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
        for (int j = 0; j < 4; j++) sums[i + j] = all[4 * j] + all[4 * j + 1];
    }
#endif
    for (; i < N; i++) sums[i] = sum(v[i]);
}

// exp(x) for every x, NaN and infinities included, within 2 units in the last place (or of the smallest subnormal).
// Ours, because the same element must give the same bits in a full vector and in a tail. Cephes' expf: x = n ln 2 + r.
PANAMOE_INLINE Vec exp(Vec x) {
    // Outside of these exp is 0 or infinite anyway. NaN compares false and passes.
    x = x < -104.0f ? broadcast(-104.0f) : x;
    x = x > 89.0f ? broadcast(89.0f) : x;
    Vec magic = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer, found in the low bits
    Vec shifted = fma(x, broadcast(1.44269504088896341f), magic);
    Vec n = shifted - magic;
    Vec r = fma(n, broadcast(-0.693359375f), x);
    r = fma(n, broadcast(2.12194440e-4f), r);
    Vec p = broadcast(1.9875691500e-4f);
    p = fma(p, r, broadcast(1.3981999507e-3f));
    p = fma(p, r, broadcast(8.3334519073e-3f));
    p = fma(p, r, broadcast(4.1665795894e-2f));
    p = fma(p, r, broadcast(1.6666665459e-1f));
    p = fma(p, r, broadcast(5.0000001201e-1f));
    p = fma(p, r * r, r) + 1.0f;
    // 2^n in two factors: n may be -150 or 128, beyond what one float's exponent holds.
    IntVec power = bits<IntVec>(shifted) - bits<IntVec>(magic);
    IntVec half = power >> 1;
    Vec low = bits<Vec>(BitVec(half + 127) << 23);
    Vec high = bits<Vec>(BitVec(power - half + 127) << 23);
    return p * low * high;
}

}  // namespace
}  // namespace panamoe::PANAMOE_ISA
