// bf16 and e4m3, bit by bit: the same values on the host, in the emulator and on every device.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define PANAMOE_BOTH __host__ __device__ __forceinline__
#else
#define PANAMOE_BOTH inline
#endif

namespace panamoe::cuda {

PANAMOE_BOTH float bits_to_float(uint32_t bits) { return __builtin_bit_cast(float, bits); }
PANAMOE_BOTH uint32_t float_to_bits(float x) { return __builtin_bit_cast(uint32_t, x); }

PANAMOE_BOTH float bf16_to_float(uint16_t bits) { return bits_to_float(uint32_t{bits} << 16); }

// To the nearest, ties to even; a NaN becomes 0x7fff, as the device's instruction does it.
PANAMOE_BOTH uint16_t float_to_bf16(float x) {
    uint32_t bits = float_to_bits(x);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Two bf16 in one register, low in its lower half.
PANAMOE_BOTH uint32_t float_to_bf16x2(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#else
    return uint32_t{float_to_bf16(high)} << 16 | float_to_bf16(low);
#endif
}

// Seven low bits of the code, put where a float has its exponent's low bits and its mantissa, are the value times
// 2^-120; that product is exact, for subnormal codes too.
PANAMOE_BOTH float e4m3_to_float(uint8_t code) {
    if ((code & 0x7f) == 0x7f) return bits_to_float(0x7fffffff);
    float magnitude = bits_to_float(static_cast<uint32_t>(code & 0x7f) << 20) * 0x1p120f;
    return code & 0x80 ? -magnitude : magnitude;
}

// To the nearest, ties to even; what is too large becomes 448, the largest there is; a NaN becomes 0x7f.
PANAMOE_BOTH uint8_t float_to_e4m3(float x) {
    uint32_t bits = float_to_bits(x), magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return 0x7f;
    uint32_t sign = bits >> 24 & 0x80;
    if (magnitude >= 0x43e00000) return static_cast<uint8_t>(sign | 0x7e);  // 448
    if (magnitude < 0x3c800000) {  // below 2^-6: multiples of 2^-9. Adding 2^14 leaves their count in the low bits.
        float shifted = bits_to_float(magnitude) + 0x1p14f;
        return static_cast<uint8_t>(sign | (float_to_bits(shifted) - float_to_bits(0x1p14f)));
    }
    uint32_t rounded = magnitude + 0x7ffff + (magnitude >> 20 & 1);  // three bits of mantissa are left
    return static_cast<uint8_t>(sign | ((rounded >> 20) - (120 << 3)));
}

}  // namespace panamoe::cuda

#undef PANAMOE_BOTH
