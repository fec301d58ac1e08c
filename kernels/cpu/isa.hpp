// The kernels of one instruction set, and what each is given.
//
// Every kernel is compiled once for each instruction set, in a namespace of its own; pm_open chooses one table. The
// kernels see plain structs, never a context, an exception or the standard library. functions.cpp, products.cpp,
// experts.cpp and attention.cpp have checked the arguments and cut the work into pieces: a kernel computes one piece.
#pragma once

#include <stdint.h>

namespace panamoe {

using Byte = unsigned char;  // weights and scales may lie at any address: they are loaded as bytes

// What a format id means to those who only count: bits of one weight (0: unknown id), how many columns share a scale
// (0: no scales), and whether products are of quantised rows.
struct FormatSize {
    int64_t bits, block;
    bool integer;
};

// Columns that share a scale in the integer formats, and in the rows that are quantised for them; bytes of the former.
constexpr int64_t kGroup = 32, kGroupScaleBytes = 2;

// A weight matrix [F, D] as the checkpoint stores it.
struct Matrix {
    const Byte *data;
    const Byte *scale;
    int64_t D;
    int32_t format;
    // What is asked for ahead of its use comes into the first cache and passes by the second; otherwise into the
    // second.
    bool near;
};

struct RmsNorm {
    float *y;
    const float *x;
    Matrix w;  // [1, D]
    float eps;
};

// y[row][f] = w[w_row + f] x[row] for rows 0 .. T of x and y.
struct Gemm {
    float *y;
    const float *x;
    int64_t y_stride, x_stride;
    int64_t T;
    Matrix w;
    int64_t w_row;
};

// A group of columns of x as products with integer formats want it: codes in the order in which the format's codes are
// multiplied, padded with 0, their scale, and the integer from which the sum of products starts, which makes up for
// codes that are stored as unsigned.
struct QuantizedGroup {
    signed char codes[kGroup];
    float scale;
    int32_t start;
};

// A row of x: its groups.
struct QuantizedRow {
    static int64_t groups(int64_t D) { return (D + kGroup - 1) / kGroup; }
    // From row to row: an odd number of cache lines, so that rows do not get into each other's way in the cache.
    static int64_t stride(int64_t D) {
        return ((groups(D) * static_cast<int64_t>(sizeof(QuantizedGroup)) + 63) / 64 | 1) * 64;
    }
};

// y[row] = w x[row] for T rows of y, and of x, which is quantised.
struct IntegerGemm {
    float *y;
    const Byte *x;
    int64_t y_stride, x_stride;
    int64_t T;
    Matrix w;
};

// Rotations of rope: Z cosines and sines for each position.
struct Rope {
    const float *cos, *sin;
    int64_t Z;
};

struct MlaQuery {
    float *q;
    const float *q_in;
    Matrix kv_b;
    const int32_t *position;
    Rope rope;
    int64_t H, P, U, C, R;
};

struct LatentAppend {
    float *pages;
    const float *kv;
    Matrix norm;  // [1, C]
    float eps;
    const int32_t *table, *request, *position;
    Rope rope;
    int64_t C, R, M, B;
};

struct MlaAttention {
    float *o;
    const float *q;
    const float *pages;
    const int32_t *table, *request, *position;
    float scale;
    int64_t H, C, R, M, B;
};

struct MlaExpanded {
    float *o;
    const float *q;
    const float *pages;
    Matrix kv_b;
    const int32_t *table, *request, *position;
    Rope rope;
    float scale;
    int64_t H, P, U, C, R, M, B;
};

// What a piece of MlaExpanded works in: its rows of q, rotated, and of o; of a block of positions the keys, turned, and
// the values. All are aligned to 64; their strides let rows begin in different sets of a cache, and o's has room for
// whole vectors.
struct ExpandedMemory {
    float *q, *o, *key, *value;
    int64_t q_stride, o_stride;  // value's is o's
};

// y[token[n]] += weight[n] * x[n] for N rows of x. token NULL: y[n]; weight NULL: 1.
struct Combine {
    float *y;
    const float *x;
    int64_t y_stride, x_stride;
    const int32_t *token;
    const float *weight;
    int64_t N;
};

struct Isa {
    const char *name;
    FormatSize (*format_size)(int32_t id);
    // Rows [from, to).
    void (*rms_norm)(const RmsNorm &, int64_t from, int64_t to);
    // Outputs f in [from, to). scratch: kScratchBytes, aligned to 64.
    void (*gemm)(const Gemm &, int64_t from, int64_t to, void *scratch);
    // One row of D values for an integer format, QuantizedRow::stride(D) bytes.
    void (*quantize)(Byte *row, const float *x, int64_t D, int32_t format);
    // Outputs f in [from, to).
    void (*gemm_integer)(const IntegerGemm &, int64_t from, int64_t to, void *scratch);
    // Rows [from, to) of head h.
    void (*mla_query)(const MlaQuery &, int64_t h, int64_t from, int64_t to, void *scratch);
    // Rows [from, to).
    void (*latent_append)(const LatentAppend &, int64_t from, int64_t to);
    // Heads [from, to) of row t, at most kAttentionHeads.
    void (*mla_attention)(const MlaAttention &, int64_t t, int64_t from, int64_t to, void *scratch);
    // Rows [from, to) of head h, all of one request, at most kExpandedRows.
    void (*mla_expanded)(const MlaExpanded &, int64_t h, int64_t from, int64_t to, void *scratch,
                         const ExpandedMemory &);
    // Columns [from, to).
    void (*combine)(const Combine &, int64_t from, int64_t to);
    // n elements.
    void (*swiglu)(float *y, const float *gate, const float *up, int64_t n);
    void (*add)(float *y, const float *x, int64_t n);
    // Row f of w in fp32.
    void (*embed)(float *y, const Matrix &w, int64_t f);
    int32_t (*argmax)(const float *x, int64_t V);
    // Reads bytes bytes and returns something that depends on all of them.
    int32_t (*read)(const Byte *data, int64_t bytes);
    // steps rounds of independent multiply-adds; returns how many operations that were. *result depends on all.
    int64_t (*multiply_add)(int64_t steps, float *result);
    // The same of products of bytes.
    int64_t (*multiply_codes)(int64_t steps, int32_t *result);
};

// Rows and outputs that a piece of gemm takes at once; heads that share a read of the cache. They bound the scratch.
constexpr int64_t kGemmRows = 64;
constexpr int64_t kGemmOutputs = 24;
constexpr int64_t kIntegerOutputs = 64;
constexpr int64_t kAttentionHeads = 36;
// Rows that share the keys and values of a block of positions; the block; from one value of a key to the next.
constexpr int64_t kExpandedRows = 512;
constexpr int64_t kExpandedPositions = 256;
constexpr int64_t kKeyStride = kExpandedPositions + 16;

}  // namespace panamoe
