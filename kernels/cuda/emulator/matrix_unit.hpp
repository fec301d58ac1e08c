// wgmma: matrix products of a warpgroup (four warps), D[64, N] += A[64, K] B[K, N].
//
// A warp issues an operation when all its lanes have come. The operations of a warp run in order, at some random moment
// after the commit of their group, or only when a wait forces them. They read shared memory, the asynchronous view, at
// that moment. The four warps' parts of an operation mostly run together, sometimes each for itself.
//
// From the issue on until a wait covers the last operation on it, an accumulator's registers hold NaN; the sum goes on
// in a place of its own. So whoever reads the registers too early, or writes them, gets wrong numbers with every seed.
//
// Sums are fp32, over k in ascending order; products of bf16 and e4m3 are exact in fp32. The device's own sums differ:
// it adds several products at once and, for e4m3, keeps about 14 bits.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "emulator.hpp"

namespace panamoe::emulator {

enum class Element : uint8_t { bf16, e4m3 };

// The instruction and its operands that are the same for all threads.
struct Product {
    Element element;
    bool a_in_registers;
    bool a_mn_major, b_mn_major;  // else K lies contiguous in shared memory
    bool accumulate;              // else D is overwritten
    int N;
    uint64_t a, b;  // matrix descriptors

    int K() const { return element == Element::bf16 ? 16 : 32; }
    uint64_t operands() const;  // differs where anything differs
};

class MatrixUnit {
  public:
    explicit MatrixUnit(Block &block);

    void fence();
    // d: the N / 2 values of this thread; a: its part of A, or nullptr.
    void issue(const Product &product, float *d, const uint32_t *a, Where where);
    void commit(Where where);
    // Returns when all but the last groups of the warp have run and the registers hold their results.
    void wait(unsigned groups, Where where);

    void check_end_of(const Thread &thread) const;

  private:
    // The accumulator registers of a warp's threads while operations on them are under way.
    struct Accumulator {
        int count;                  // registers of each thread
        std::vector<float> values;  // [lane][count]
        float *registers[kWarp] = {};
        uint64_t last_group = 0;  // that works on it
        int operations = 0;       // that have not run
    };
    struct Operation {
        Product product;
        uint32_t a[kWarp][4];  // A from registers
        Accumulator *d;
        uint64_t group;
    };
    struct Queue {  // of one warp
        std::deque<Operation> operations;
        uint64_t ran = 0;      // operations, since the block began
        uint64_t commits = 0;  // groups closed
        uint64_t wanted = 0;   // groups that a wait wants to have run
        WaitingThreads waiting;
        std::vector<std::unique_ptr<Accumulator>> accumulators;
        std::unique_ptr<Accumulator> fresh;  // of the operation that is being issued
        uint32_t a[kWarp][4];                // of the same

        uint64_t groups_done() const {
            return operations.empty() ? commits : std::min(commits, operations.front().group);
        }
    };

    Accumulator &find_accumulator(Queue &queue, float *d, int count, bool keep, Where where);
    void run_groups(unsigned warp, uint64_t before);
    void run_next(unsigned warp);
    void run_part(unsigned warp, const float *b_KN);
    void load_a(const Operation &operation, unsigned quarter, float *a_MK) const;
    void load_tile(uint64_t descriptor, Element element, bool mn_major, int first_row, int rows, int K, float *tile,
                   int row_stride, int k_stride) const;
    const unsigned char *piece(uint64_t descriptor, uint32_t offset, uint32_t swizzle_mode) const;
    void deliver(unsigned warp);
    static void run_scheduled(Block &block, uint64_t warp_and_groups);

    Block &block_;
    std::vector<Queue> queues_;
    std::vector<char> fenced_;  // threads whose registers wgmma may take
};

}  // namespace panamoe::emulator
