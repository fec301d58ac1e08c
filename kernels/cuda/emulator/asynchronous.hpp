// The units of a block that work beside its threads, and how threads and units hear of each other.
//
// Shared memory has two views. Threads read and write the generic one. Matrix instructions and stores by TMA read the
// asynchronous one, which learns of a thread's writes at the next fence_proxy_async. What TMA loads appears in both.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "copies.hpp"
#include "emulator.hpp"
#include "matrix_unit.hpp"

namespace panamoe::emulator {

class Asynchronous {
  public:
    explicit Asynchronous(Block &block);

    // ---- mbarriers: 8 bytes of shared memory each ----

    void init(uint64_t *barrier, unsigned count, Where where);
    // The barrier's next phase completes when count threads have arrived and no expected byte is missing.
    void arrive(uint64_t *barrier, unsigned expected_bytes, Where where);
    // Returns when the phase with this parity has completed; the one before the first has parity 1.
    void wait(uint64_t *barrier, unsigned parity, Where where);
    void fence_barrier_init();

    void fence_proxy(Where where);

    // ---- Called by the units ----

    uint32_t find_mbarrier(const uint64_t *barrier, Where where);
    void land_bytes(uint32_t mbarrier, uint32_t bytes);
    // The bytes at offset in shared memory, as the units see them.
    unsigned char *view(uint32_t offset) { return view_.data() + offset; }
    // What instructions take for an address. Its low ten bits are those of the offset.
    static uint32_t address(uint32_t offset) { return offset + 1024; }
    // The offset of a pointer. It is a fault if it and bytes behind it are not within the block's shared memory.
    uint32_t offset(const void *pointer, size_t bytes, const char *what, Where where) const;

    void check_end_of(const Thread &thread) const;  // what a thread must not leave behind
    void check_end();                               // and what a block must not
    std::string describe_mbarrier(uint32_t index, uint32_t parity) const;

    Copies copies;
    MatrixUnit matrix;

  private:
    struct MBarrier {
        uint32_t offset;
        unsigned count, pending;
        int64_t bytes = 0;   // expected and not yet landed in this phase; below 0 where they landed unexpected
        uint64_t phase = 0;  // how many have completed
        unsigned owner;      // the thread that initialised it; others may use it once it is fenced
        bool fenced = false;
        WaitingThreads waiting;
    };

    void complete_if_due(MBarrier &barrier);
    static void take_snapshot(Block &block, uint64_t);

    Block &block_;
    std::vector<MBarrier> mbarriers_;
    std::vector<unsigned char> view_;
    WaitingThreads fencing_;
};

}  // namespace panamoe::emulator
