// wgmma with N columns: what device.cuh includes for nvcc. The instruction names each register of the accumulator,
// which no template can; so the macros here spell them out for one N after the other, and end with this file.
#pragma once

#include <cstdint>

namespace panamoe::cuda {

template <int N>
struct Wgmma;

// %0, %1, ... for 4, 8, 16, ... accumulator registers, and the constraints that go with them.
// clang-format off
#define NAMES_4 "%0, %1, %2, %3"
#define NAMES_8 NAMES_4 ", %4, %5, %6, %7"
#define NAMES_16 NAMES_8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define NAMES_24 NAMES_16 \
    ", %16, %17, %18, %19, %20, %21, %22, %23"
#define NAMES_32 NAMES_24 \
    ", %24, %25, %26, %27, %28, %29, %30, %31"
#define NAMES_48 NAMES_32 \
    ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define NAMES_64 NAMES_48 \
    ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define NAMES_80 NAMES_64 \
    ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define NAMES_96 NAMES_80 \
    ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define NAMES_128 NAMES_96 \
    ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
    ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
// clang-format on
#define D_4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define D_8(i) D_4(i), D_4(i + 4)
#define D_16(i) D_8(i), D_8(i + 8)
#define D_24(i) D_16(i), D_8(i + 16)
#define D_32(i) D_16(i), D_16(i + 16)
#define D_48(i) D_32(i), D_16(i + 32)
#define D_64(i) D_32(i), D_32(i + 32)
#define D_80(i) D_64(i), D_16(i + 64)
#define D_96(i) D_64(i), D_32(i + 64)
#define D_128(i) D_64(i), D_64(i + 64)

// The operands behind the accumulator's COUNT registers have the numbers R0 = COUNT, R1, ...
#define WGMMA(N, COUNT, R0, R1, R2, R3, R4, R5, R6)                                                               \
    template <>                                                                                                   \
    struct Wgmma<N> {                                                                                             \
        template <int A, int B>                                                                                   \
        __device__ static __forceinline__ void bf16(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate) { \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #R2                                                 \
                         ", 0;\n"                                                                                 \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" NAMES_##COUNT               \
                         "}, %" #R0 ", %" #R1 ", p, 1, 1, %" #R3 ", %" #R4 ";\n}"                                 \
                         : D_##COUNT(0)                                                                           \
                         : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(A), "n"(B));                    \
        }                                                                                                         \
        template <int B>                                                                                          \
        __device__ static __forceinline__ void bf16(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b,        \
                                                    bool accumulate) {                                            \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #R5                                                 \
                         ", 0;\n"                                                                                 \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" NAMES_##COUNT               \
                         "}, {%" #R0 ", %" #R1 ", %" #R2 ", %" #R3 "}, %" #R4 ", p, 1, 1, %" #R6 ";\n}"           \
                         : D_##COUNT(0)                                                                           \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)), \
                           "n"(B));                                                                               \
        }                                                                                                         \
        __device__ static __forceinline__ void e4m3(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate) { \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #R2                                                 \
                         ", 0;\n"                                                                                 \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k32.f32.e4m3.e4m3 {" NAMES_##COUNT               \
                         "}, %" #R0 ", %" #R1 ", p, 1, 1;\n}"                                                     \
                         : D_##COUNT(0)                                                                           \
                         : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)));                                    \
        }                                                                                                         \
    };

WGMMA(8, 4, 4, 5, 6, 7, 8, 9, 10)
WGMMA(16, 8, 8, 9, 10, 11, 12, 13, 14)
WGMMA(32, 16, 16, 17, 18, 19, 20, 21, 22)
WGMMA(48, 24, 24, 25, 26, 27, 28, 29, 30)
WGMMA(64, 32, 32, 33, 34, 35, 36, 37, 38)
WGMMA(96, 48, 48, 49, 50, 51, 52, 53, 54)
WGMMA(128, 64, 64, 65, 66, 67, 68, 69, 70)
WGMMA(160, 80, 80, 81, 82, 83, 84, 85, 86)
WGMMA(192, 96, 96, 97, 98, 99, 100, 101, 102)
WGMMA(256, 128, 128, 129, 130, 131, 132, 133, 134)

#undef WGMMA
#undef NAMES_4
#undef D_4
#undef NAMES_8
#undef D_8
#undef NAMES_16
#undef D_16
#undef NAMES_24
#undef D_24
#undef NAMES_32
#undef D_32
#undef NAMES_48
#undef D_48
#undef NAMES_64
#undef D_64
#undef NAMES_80
#undef D_80
#undef NAMES_96
#undef D_96
#undef NAMES_128
#undef D_128

// Shared a and b. A and B say what lies contiguous.
template <int N, Major A = Major::k, Major B = Major::k>
__device__ __forceinline__ void wgmma_bf16(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate) {
    Wgmma<N>::template bf16<A == Major::mn, B == Major::mn>(d, a, b, accumulate);
}
// a in registers: register i holds the bf16 of row t % 32 / 4 + 8 (i % 2), columns 2 (t % 4) + 8 (i / 2) and the next.
template <int N, Major B = Major::k>
__device__ __forceinline__ void wgmma_bf16(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
    Wgmma<N>::template bf16<B == Major::mn>(d, a, b, accumulate);
}
template <int N>
__device__ __forceinline__ void wgmma_e4m3(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate) {
    Wgmma<N>::e4m3(d, a, b, accumulate);
}

}  // namespace panamoe::cuda
