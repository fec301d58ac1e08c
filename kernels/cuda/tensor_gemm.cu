// The host's side of gemm and grouped_gemm on tensor cores: whether they fit, in which tiles, with which tensor maps.
#include "tensor_gemm.hpp"

#include <limits>

#include "grouped_gemm_sm90.cuh"
#include "quantize.cuh"

namespace panamoe::cuda {
namespace {

TensorMap map_of(const char *name, const void *data, int element_bytes, int64_t rows, int64_t columns, int64_t stride,
                 uint32_t box_rows, uint32_t box_columns, Swizzle swizzle) {
    return tensor_map(name, {data,
                             element_bytes,
                             2,
                             {static_cast<uint64_t>(columns), static_cast<uint64_t>(rows)},
                             {0, static_cast<uint64_t>(stride)},
                             {box_columns, box_rows},
                             swizzle});
}

int bytes_of(int32_t format) { return format == PM_W_BF16 ? 2 : 1; }

TensorMap map_of_weight(const void *w_FD, const ExpertGemm &g) {
    int bytes = bytes_of(g.format);
    return map_of("w_FD", w_FD, bytes, g.F, g.D, int64_t{g.D} * bytes, 64, static_cast<uint32_t>(128 / bytes),
                  Swizzle::bytes_128);
}

bool aligned(const void *w) { return reinterpret_cast<uintptr_t>(w) % 16 == 0; }

// The tensor maps of a table of weights; nullptr: TMA takes not all of them. The first call for a table copies it to
// the host and waits; pm_copy and pm_free forget what they change (cuda_context.cpp).
const TensorMap *maps_of_table(pm_context &ctx, const char *operation, const ExpertGemm &g) {
    auto *w_E = static_cast<const void *const *>(g.w);
    for (const WeightTable &each : ctx.weight_tables)
        if (each.w_E == w_E && each.E == g.E && each.F == g.F && each.D == g.D && each.format == g.format)
            return static_cast<const TensorMap *>(each.maps.get());

    std::vector<const void *> table(static_cast<size_t>(g.E));
    size_t bytes = table.size() * sizeof(TensorMap);
    require_success(ctx, operation,
                    cudaMemcpyAsync(table.data(), w_E, table.size() * sizeof(void *), cudaMemcpyDefault, ctx.stream));
    require_success(ctx, operation, cudaStreamSynchronize(ctx.stream));
    WeightTable made{w_E, g.E, g.F, g.D, g.format, nullptr};
    bool fit = true;
    for (const void *w : table) fit = fit && aligned(w);
    if (fit) {
        std::vector<TensorMap> maps(table.size());  // those of NULL are never used: such an expert has no rows
        for (size_t e = 0; e < table.size(); e++)
            if (table[e] != nullptr) maps[e] = map_of_weight(table[e], g);
        void *data = nullptr;
        require_success(ctx, operation, cudaMalloc(&data, bytes));
        made.maps.reset(data);
        require_success(ctx, operation, cudaMemcpyAsync(data, maps.data(), bytes, cudaMemcpyHostToDevice, ctx.stream));
        require_success(ctx, operation, cudaStreamSynchronize(ctx.stream));
    }
    ctx.weight_tables.push_back(std::move(made));
    return static_cast<const TensorMap *>(ctx.weight_tables.back().maps.get());
}

// x as the tensor cores take it, in scratch memory.
struct Input {
    unsigned char *codes;
    int64_t stride;  // of a row, in bytes
    float *scale;
    int64_t scale_stride;  // of a block of columns, in bytes
};

Input convert(pm_context &ctx, const char *operation, const ExpertGemm &g) {
    int64_t stride = ceil_div(int64_t{g.D} * bytes_of(g.format), 128) * 128, codes = stride * g.N;
    int64_t blocks = ceil_div(g.D, 128), scale_stride = ceil_div(g.N, 4) * 16;
    bool scaled = g.format == PM_W_F8_E4M3_B128;
    unsigned char *data = scratch(ctx, operation, static_cast<size_t>(codes + (scaled ? blocks * scale_stride : 0)));
    Input x{data, stride, reinterpret_cast<float *>(data + codes), scale_stride};
    if (scaled)
        launch(operation, quantize_to_e4m3, blocks_for(ceil_div(g.N * blocks, kWarps)), dim3(kThreads), 0, ctx.stream,
               x.codes, x.scale, g.x_ND, int64_t{g.N}, int64_t{g.D}, stride, scale_stride / 4);
    else
        launch(operation, round_to_bf16, blocks_for(g.N), threads_for(g.D), 0, ctx.stream,
               reinterpret_cast<uint16_t *>(x.codes), g.x_ND, int64_t{g.N}, int64_t{g.D}, stride / 2);
    return x;
}

// The tile for the rows that an expert has at once. Experts differ: twice their mean seldom is too few, and where it
// is, the weights of the second tile come from the second-level cache.
int choose_rows(const pm_context &ctx, const ExpertGemm &g) {
    int64_t expected = g.E == 1 ? g.N : 2 * ceil_div(g.N, g.E);
    for (int rows : {16, 32, 64})
        if (expected <= rows) return rows;
    // The largest tile has the least traffic, if every multiprocessor gets one.
    return ceil_div(g.N, 128) * ceil_div(g.F, 128) >= ctx.multiprocessors ? 128 : 64;
}

template <class Tile>
void launch_tiles(pm_context &ctx, const char *operation, const ExpertGemm &g, const TensorGemm &a, const Input &x,
                  const TensorMap &w_FD) {
    int bytes = bytes_of(g.format);
    TensorMap x_ND =
        map_of("x_ND", x.codes, bytes, g.N, g.D, x.stride, Tile::BLOCK_N, Tile::BLOCK_D, Swizzle::bytes_128);
    TensorMap scale_DN = x_ND;
    if (Tile::SCALED)
        scale_DN = map_of("the scales of x_ND", x.scale, 4, ceil_div(g.D, 128), g.N, x.scale_stride, 1, Tile::BLOCK_N,
                          Swizzle::none);
    int64_t tiles = (g.N / Tile::BLOCK_N + std::min(g.N, g.E)) * ceil_div(g.F, Tile::BLOCK_F);  // at most
    dim3 grid(static_cast<unsigned>(std::min<int64_t>(tiles, ctx.multiprocessors)));
    launch(operation, grouped_gemm_sm90<Tile>, grid, dim3(Tile::kThreads), Tile::kSharedBytes, ctx.stream, x_ND,
           scale_DN, w_FD, a);
}

template <bool SCALED>
void launch_format(pm_context &ctx, const char *operation, const ExpertGemm &g, const TensorGemm &a, const Input &x,
                   const TensorMap &w_FD) {
    switch (choose_rows(ctx, g)) {
        case 16: return launch_tiles<TensorTile<SCALED, 16>>(ctx, operation, g, a, x, w_FD);
        case 32: return launch_tiles<TensorTile<SCALED, 32>>(ctx, operation, g, a, x, w_FD);
        case 64: return launch_tiles<TensorTile<SCALED, 64>>(ctx, operation, g, a, x, w_FD);
        default: return launch_tiles<TensorTile<SCALED, 128>>(ctx, operation, g, a, x, w_FD);
    }
}

}  // namespace

bool tensor_gemm(pm_context &ctx, const char *operation, const ExpertGemm &g) {
    bool grouped = g.offset_E1 != nullptr, scaled = g.format == PM_W_F8_E4M3_B128;
    if (!ctx.tensor || (g.format != PM_W_BF16 && !scaled) || int64_t{g.D} * bytes_of(g.format) % 16 != 0) return false;
    // A block counts its tiles in 32 bits.
    if ((int64_t{g.N} / 16 + g.E) * (g.F / 64 + 1) > std::numeric_limits<int32_t>::max() / 2) return false;
    if (!grouped && !aligned(g.w)) return false;
    TensorGemm a{g.y_NF, nullptr, nullptr,  static_cast<const Byte *>(g.scale), g.offset_E1, nullptr, g.N, g.D,
                 g.F,    g.E,     ctx.fault};
    TensorMap w_FD{};
    if (grouped) {
        a.maps = maps_of_table(ctx, operation, g);
        if (a.maps == nullptr) return false;
        a.w = static_cast<const Byte *const *>(g.w);
        a.scale = static_cast<const Byte *const *>(g.scale);
    } else {
        w_FD = map_of_weight(g.w, g);
    }
    Input x = convert(ctx, operation, g);
    if (scaled)
        launch_format<true>(ctx, operation, g, a, x, w_FD);
    else
        launch_format<false>(ctx, operation, g, a, x, w_FD);
    return true;
}

}  // namespace panamoe::cuda
