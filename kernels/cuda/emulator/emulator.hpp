// Runs CUDA kernels on the host, to find out whether they are right.
//
// One fiber stands for one CUDA thread. A block's threads take turns on one host thread: a thread runs until it has to
// wait, then another one, drawn at random, goes on. Blocks run one after the other in a random order. All randomness
// comes from one seed, so that a failure can be repeated. A kernel that is right gives the same bits with every seed;
// one that lacks a barrier sooner or later does not. Uninitialised memory is poisoned, and when no thread can go on,
// the launch fails with a text that says who waits for what.
//
// Not modelled: blocks that wait for one another, clusters, weak memory order between threads, timing, bank conflicts.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>
#include <vector>

#include "fiber.hpp"

namespace panamoe::emulator {

constexpr unsigned kWarp = 32, kMaxThreads = 1024, kMultiprocessors = 4;
constexpr size_t kMaxSharedBytes = 227 * 1024;  // what a block can have on Hopper

// All launches after this one draw their schedules from seed; the same launches in the same order are scheduled alike.
void emulator_seed(uint64_t seed);

class Random {  // xorshift64*
  public:
    explicit Random(uint64_t seed) : state_((seed + 1) * 0x9e3779b97f4a7c15u | 1) {}
    uint32_t bits() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return static_cast<uint32_t>((state_ * 0x2545f4914f6cdd1du) >> 32);
    }
    uint32_t below(uint32_t n) { return static_cast<uint32_t>((uint64_t{bits()} * n) >> 32); }

  private:
    uint64_t state_;
};

struct Launch {
    const char *name;
    dim3 grid, block;
    size_t shared_bytes;
    void (*run_thread)(const void *kernel_and_arguments);
    const void *kernel_and_arguments;
};

// Runs all blocks. Throws Error, which names the kernel, if the shape is not one that the device takes, if the kernel
// deadlocks or if it does what no kernel may do.
void run(const Launch &launch);

// What a thread waits for: for the report of a deadlock.
enum class Wait : uint8_t { none, syncthreads, warp };
struct Waiting {
    Wait what = Wait::none;
    uint32_t number = 0;  // warp: the mask
    std::source_location where;
};

struct Thread {
    Continuation continuation = nullptr;  // nullptr: not started
    Stacks::Stack stack{};
    uint3 index{};
    unsigned number = 0;  // in the block; x runs fastest
    bool done = false;
    Waiting waiting;
    uint64_t result = 0;  // what the one who wakes this thread has to tell it
};

// A barrier of the block. Those that wait are woken all at once.
struct Barrier {
    unsigned arrived = 0;
    int sum = 0;  // of the arrived threads' predicates
    std::source_location where;
    std::vector<Thread *> waiting;
};

enum class Collective : uint8_t { shuffle, ballot, sync };

// One warp-wide operation that has not yet been reached by all lanes of its mask.
struct Meeting {
    uint32_t mask = 0;  // 0: this place is free
    uint32_t arrived = 0;
    Collective kind{};
    uint64_t value[kWarp];
    uint8_t source[kWarp];  // shuffle: the lane whose value the lane wants
    Thread *thread[kWarp];
};

struct Warp {
    uint32_t alive = 0;
    Meeting meetings[4];
};

// The block that runs now.
class Block {
  public:
    Block(Stacks &stacks, unsigned char *shared) : stacks_(stacks), shared_(shared) {}

    void run(const Launch &launch, uint64_t seed);

    // ---- called by the running thread ----

    // Returns when all living threads of the block have arrived: the number of those whose predicate is true.
    int sync_threads(bool predicate, std::source_location where);
    // Returns when all living lanes of mask have arrived: the value of lane source, or the lanes whose value is not 0.
    uint64_t meet(uint32_t mask, Collective kind, uint64_t value, unsigned source, std::source_location where);
    // The launch fails with this text. Nothing of the block runs any more.
    [[noreturn]] [[gnu::format(printf, 2, 3)]] void fault(const char *format, ...);

    unsigned lane() const { return running_->number % kWarp; }
    unsigned char *shared() const { return shared_; }
    void start_thread();  // the bottom of each thread's stack

  private:
    void poison_shared_memory();
    void check_shared_memory() const;
    void resume(Thread &thread);
    void wait(Waiting waiting);
    void wake(Thread *thread);
    void wake_all(Barrier &barrier);
    void finish(Thread &thread);
    void hold(Meeting &meeting);
    Meeting &find_meeting(uint32_t mask, Collective kind, uint32_t bit);
    [[noreturn]] void report(const std::string &what) const;
    std::string stuck_threads() const;
    std::string describe(const Thread &thread) const;

    Stacks &stacks_;
    const Launch *launch_ = nullptr;
    Random random_{0};
    std::vector<Thread> threads_;
    std::vector<Thread *> ready_;
    std::vector<Warp> warps_;
    Barrier all_;  // __syncthreads
    unsigned alive_ = 0;
    Thread *running_ = nullptr;
    Continuation scheduler_ = nullptr;
    unsigned char *shared_;
    unsigned char poison_ = 0;
    bool failed_ = false;
    std::string failure_;
};

extern Block *block;

}  // namespace panamoe::emulator
