// Products of rows with whole matrices, cut into blocks of rows.
#pragma once

#include <vector>

#include "cpu_context.hpp"
#include "isa.hpp"

namespace panamoe {

// Bytes of rows that a call lays, and of products that wait for its second job, at once: StepMemory.java forecasts
// them, too.
constexpr int64_t kRoomBytes = int64_t{64} << 20;

// Appends the rows of all as blocks of at most kGemmRows rows.
void add_blocks(std::vector<Gemm> &blocks, const Gemm &all);

// F outputs of each block, for a format whose weights are decoded.
void multiply(pm_context *ctx, const std::vector<Gemm> &blocks, int64_t F, FormatSize size);

// The same for any format; the blocks are all the rows of x, one after the other.
void multiply_all(pm_context *ctx, const char *operation, const std::vector<Gemm> &blocks, int64_t F, FormatSize size);

}  // namespace panamoe
