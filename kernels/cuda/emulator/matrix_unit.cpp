#include "matrix_unit.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "../numbers.hpp"
#include "asynchronous.hpp"

namespace panamoe::emulator {

using cuda::Swizzle;
using cuda::swizzle_span;
using cuda::swizzled;

namespace {

constexpr int kRows = 16;  // of A and D, that one warp works on

// A matrix descriptor: where a tile begins in shared memory and how its 16-byte pieces lie.
struct Descriptor {
    uint32_t start, leading, stride;  // addresses and distances in bytes
    unsigned base_offset;
    Swizzle swizzle;

    explicit Descriptor(uint64_t bits)
        : start(static_cast<uint32_t>(bits & 0x3fff) << 4),
          leading(static_cast<uint32_t>(bits >> 16 & 0x3fff) << 4),
          stride(static_cast<uint32_t>(bits >> 32 & 0x3fff) << 4),
          base_offset(bits >> 49 & 7) {
        constexpr Swizzle kModes[] = {Swizzle::none, Swizzle::bytes_128, Swizzle::bytes_64, Swizzle::bytes_32};
        swizzle = kModes[bits >> 62];
    }

    // Address of the piece that holds row r's K elements from byte k on; K lies contiguous.
    uint32_t k_major(uint32_t r, uint32_t k) const {
        if (swizzle == Swizzle::none) return start + r / 8 * stride + r % 8 * 16 + k / 16 * leading;
        return swizzled(start + r / 8 * stride + r % 8 * swizzle_span(swizzle) + k, swizzle);
    }
    // Address of the piece that holds 8 bf16 elements of row k, from column n on; columns lie contiguous.
    uint32_t mn_major(uint32_t n, uint32_t k) const {
        if (swizzle == Swizzle::none) return start + n / 8 * stride + k / 8 * leading + k % 8 * 16;
        uint32_t span = swizzle_span(swizzle);
        return swizzled(start + 2 * n / span * leading + 2 * n % span + k / 8 * stride + k % 8 * span, swizzle);
    }
};

// The elements of one 16-byte piece.
int decode(const unsigned char *piece, Element element, float (&values)[16]) {
    if (element == Element::e4m3) {
        for (int i = 0; i < 16; i++) values[i] = cuda::e4m3_to_float(piece[i]);
        return 16;
    }
    for (int i = 0; i < 8; i++) {
        uint16_t bits;
        std::memcpy(&bits, piece + 2 * i, 2);
        values[i] = cuda::bf16_to_float(bits);
    }
    return 8;
}

// d_N += a_K b_KN, for each n over k in ascending order.
void multiply(float *__restrict__ d_N, const float *a_K, const float *__restrict__ b_KN, int N, int K) {
    for (int k = 0; k < K; k++)
        for (int n = 0; n < N; n++) d_N[n] += a_K[k] * b_KN[k * N + n];
}

// Where register i of a lane lies in the 16 rows that its warp works on.
int row_of(unsigned lane, int i) { return static_cast<int>(lane) / 4 + 8 * (i / 2 % 2); }
int column_of(unsigned lane, int i) { return 8 * (i / 4) + 2 * (static_cast<int>(lane) % 4) + i % 2; }

}  // namespace

uint64_t Product::operands() const {
    uint64_t flags = static_cast<uint64_t>(N) | uint64_t{a_in_registers} << 10 | uint64_t{a_mn_major} << 11 |
                     uint64_t{b_mn_major} << 12 | uint64_t{accumulate} << 13 | static_cast<uint64_t>(element) << 14;
    return (a * 0x9e3779b97f4a7c15u) ^ std::rotl(b, 20) ^ flags;
}

MatrixUnit::MatrixUnit(Block &block)
    : block_(block), queues_((block.threads() + kWarp - 1) / kWarp), fenced_(block.threads()) {}

// ---- Issue ----

void MatrixUnit::fence() {
    fenced_[block_.running().number] = true;
    block_.pause();
}

void MatrixUnit::issue(const Product &product, float *d, const uint32_t *a, Where where) {
    Thread &self = block_.running();
    Queue &queue = queues_[self.warp()];
    if (self.warp() / 4 * 4 + 4 > queues_.size())
        block_.fault("wgmma at %s: warp %u is in no whole warpgroup", place(where).c_str(), self.warp());
    Accumulator &accumulator = find_accumulator(queue, d, product.N / 2, product.accumulate, where);
    if (a) std::memcpy(queue.a[self.lane()], a, sizeof queue.a[0]);
    if (!block_.converge(Collective::wgmma, product.operands(), where)) return;

    // All lanes have come. Either all have met an accumulator that is under way, or all bring a new one.
    if (queue.fresh && &accumulator != queue.fresh.get())
        block_.fault("wgmma at %s: some lanes' accumulators are under way, others' not", place(where).c_str());
    for (unsigned i = 0; i < kWarp; i++)
        if (block_.living_lanes(self.warp()) >> i & 1 && !accumulator.registers[i])
            block_.fault("wgmma at %s: the lanes' accumulators differ", place(where).c_str());
    if (queue.fresh) queue.accumulators.push_back(std::move(queue.fresh));
    accumulator.last_group = queue.commits;
    accumulator.operations++;
    queue.operations.push_back({product, {}, &accumulator, queue.commits});
    std::memcpy(queue.operations.back().a, queue.a, sizeof queue.a);
    if (block_.random().one_in(16)) run_groups(self.warp(), queue.commits + 1);  // nothing forbids it to start at once
}

// The accumulator of the running thread's registers d; from now on they hold NaN.
MatrixUnit::Accumulator &MatrixUnit::find_accumulator(Queue &queue, float *d, int count, bool keep, Where where) {
    Thread &self = block_.running();
    for (const auto &each : queue.accumulators)
        if (each->registers[self.lane()] == d) {
            if (each->count != count)
                block_.fault("wgmma at %s: accumulator used with two sizes", place(where).c_str());
            return *each;
        }
    if (!fenced_[self.number])
        block_.fault("thread %u at %s: wgmma without a wgmma_fence since its registers were last touched", self.number,
                     place(where).c_str());
    if (!queue.fresh) {
        queue.fresh = std::make_unique<Accumulator>();
        queue.fresh->count = count;
        queue.fresh->values.resize(static_cast<size_t>(kWarp * count));
    }
    queue.fresh->registers[self.lane()] = d;
    if (keep) std::copy_n(d, count, &queue.fresh->values[self.lane() * static_cast<size_t>(count)]);
    std::fill_n(d, count, std::numeric_limits<float>::quiet_NaN());
    return *queue.fresh;
}

void MatrixUnit::commit(Where where) {
    unsigned warp = block_.running().warp();
    if (block_.converge(Collective::wgmma_commit, 0, where)) {
        uint64_t groups = ++queues_[warp].commits;
        if (block_.random().one_in(2))  // else it runs as late as it can
            block_.schedule(block_.random_delay(), run_scheduled, uint64_t{warp} << 56 | groups);
    }
    block_.pause();
}

void MatrixUnit::wait(unsigned groups, Where where) {
    unsigned warp = block_.running().warp();
    Queue &queue = queues_[warp];
    if (block_.converge(Collective::wgmma_wait, groups, where)) {
        queue.wanted = queue.commits > groups ? queue.commits - groups : 0;
        if (queue.groups_done() >= queue.wanted)
            deliver(warp);
        else
            block_.schedule(block_.random_delay(), run_scheduled, uint64_t{warp} << 56 | queue.wanted);
    }
    while (queue.groups_done() < queue.wanted) block_.wait({Wait::matrix, 0, 0, where}, queue.waiting);
}

// ---- Run ----

void MatrixUnit::run_scheduled(Block &block, uint64_t warp_and_groups) {
    block.asynchronous().matrix.run_groups(static_cast<unsigned>(warp_and_groups >> 56),
                                           warp_and_groups & ((uint64_t{1} << 56) - 1));
}

void MatrixUnit::run_groups(unsigned warp, uint64_t before) {
    Queue &queue = queues_[warp];
    while (!queue.operations.empty() && queue.operations.front().group < before) run_next(warp);
}

// Runs the warp's next operation, and the other warps' parts of it if they are as far.
void MatrixUnit::run_next(unsigned warp) {
    const Queue &queue = queues_[warp];
    const Product product = queue.operations.front().product;
    uint64_t number = queue.ran;
    bool alone = block_.random().one_in(8);

    float b_KN[32 * 256];
    load_tile(product.b, product.element, product.b_mn_major, 0, product.N, product.K(), b_KN, 1, product.N);
    for (unsigned each = warp / 4 * 4; each < warp / 4 * 4 + 4; each++) {
        Queue &other = queues_[each];
        if (each == warp) continue;
        if (alone || other.ran != number || other.operations.empty()) continue;
        const Operation &operation = other.operations.front();
        if (operation.group >= other.commits) continue;
        if (operation.product.operands() != product.operands())
            block_.fault("wgmma: warps %u and %u of one warpgroup bring different operands", warp, each);
        run_part(each, b_KN);
    }
    run_part(warp, b_KN);
}

// The 16 rows of the warp's next operation.
void MatrixUnit::run_part(unsigned warp, const float *b_KN) {
    Queue &queue = queues_[warp];
    const Operation &operation = queue.operations.front();
    const int N = operation.product.N, K = operation.product.K();
    float a_MK[kRows * 32], d_MN[kRows * 256];
    load_a(operation, warp % 4, a_MK);

    Accumulator &accumulator = *operation.d;
    auto each_register = [&](auto body) {
        for (unsigned lane = 0; lane < kWarp; lane++)
            for (int i = 0; i < accumulator.count; i++)
                body(accumulator.values[lane * static_cast<size_t>(accumulator.count) + static_cast<size_t>(i)],
                     d_MN[row_of(lane, i) * N + column_of(lane, i)]);
    };
    if (operation.product.accumulate)
        each_register([](float value, float &d) { d = value; });
    else
        std::fill_n(d_MN, kRows * N, 0.0f);
    for (int m = 0; m < kRows; m++) multiply(d_MN + m * N, a_MK + m * K, b_KN, N, K);
    each_register([](float &value, float d) { value = d; });

    accumulator.operations--;
    queue.operations.pop_front();
    queue.ran++;
    if (!queue.waiting.empty() && queue.groups_done() >= queue.wanted) deliver(warp);
}

void MatrixUnit::load_a(const Operation &operation, unsigned quarter, float *a_MK) const {
    const Product &product = operation.product;
    const int K = product.K();
    if (!product.a_in_registers) {
        load_tile(product.a, product.element, product.a_mn_major, static_cast<int>(quarter) * kRows, kRows, K, a_MK, K,
                  1);
        return;
    }
    // Register i of a lane holds two bf16: rows as in D, columns 2 (lane % 4) and the next, from the third register on
    // 8 columns further.
    for (unsigned lane = 0; lane < kWarp; lane++)
        for (int i = 0; i < 4; i++) {
            int row = static_cast<int>(lane) / 4 + 8 * (i % 2), column = 2 * (static_cast<int>(lane) % 4) + 8 * (i / 2);
            a_MK[row * K + column] = cuda::bf16_to_float(static_cast<uint16_t>(operation.a[lane][i]));
            a_MK[row * K + column + 1] = cuda::bf16_to_float(static_cast<uint16_t>(operation.a[lane][i] >> 16));
        }
}

// tile[(r - first_row) * row_stride + k * k_stride] = element k of row r, where a row is one of A or one column of B.
void MatrixUnit::load_tile(uint64_t bits, Element element, bool mn_major, int first_row, int rows, int K, float *tile,
                           int row_stride, int k_stride) const {
    Descriptor descriptor(bits);
    if (descriptor.base_offset != 0) block_.fault("wgmma: a descriptor with a base offset is not modelled");
    Asynchronous &units = block_.asynchronous();
    auto at = [&](uint32_t address) {
        uint32_t offset = address - Asynchronous::address(0);
        if (offset % 16 != 0 || offset + 16 > block_.shared_bytes())
            block_.fault("wgmma reads shared %d, the block has %zu bytes", static_cast<int>(offset),
                         block_.shared_bytes());
        return units.view(offset);
    };
    float values[16];
    int count = element == Element::bf16 ? 8 : 16;
    if (!mn_major) {
        for (int r = 0; r < rows; r++)
            for (int k = 0; k < K; k += count) {
                decode(
                    at(descriptor.k_major(static_cast<uint32_t>(first_row + r), static_cast<uint32_t>(k / count * 16))),
                    element, values);
                for (int i = 0; i < count; i++) tile[r * row_stride + (k + i) * k_stride] = values[i];
            }
        return;
    }
    for (int k = 0; k < K; k++)
        for (int r = 0; r < rows; r += count) {
            decode(at(descriptor.mn_major(static_cast<uint32_t>(first_row + r), static_cast<uint32_t>(k))), element,
                   values);
            for (int i = 0; i < count; i++) tile[(r + i) * row_stride + k * k_stride] = values[i];
        }
}

// The wait is over: the registers of its accumulators get their values.
void MatrixUnit::deliver(unsigned warp) {
    Queue &queue = queues_[warp];
    std::erase_if(queue.accumulators, [&](const std::unique_ptr<Accumulator> &each) {
        if (each->operations > 0 || each->last_group >= queue.wanted) return false;
        for (unsigned lane = 0; lane < kWarp; lane++) {
            if (!each->registers[lane]) continue;
            std::copy_n(&each->values[lane * static_cast<size_t>(each->count)], each->count, each->registers[lane]);
            fenced_[warp * kWarp + lane] = false;
        }
        return true;
    });
    block_.wake_all(queue.waiting);
}

void MatrixUnit::check_end_of(const Thread &thread) const {
    if (!queues_[thread.warp()].accumulators.empty())
        block_.fault("thread %u ends without a wgmma_wait for its last wgmma", thread.number);
}

}  // namespace panamoe::emulator
