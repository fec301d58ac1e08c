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

// The one tree in which lanes are added: the upper half onto the lower, until one is left.
PANAMOE_INLINE float sum(Vec v) {
#if PANAMOE_LANES == 16
    v += __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
    v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
#elif PANAMOE_LANES == 8
    v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3);
    v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5);
#else
    v += __builtin_shufflevector(v, v, 2, 3, 0, 1);
#endif
    return v[0] + v[1];
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
