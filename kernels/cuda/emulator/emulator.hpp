// Runs CUDA kernels on the host, to find out whether they are right.
//
// One fiber stands for one CUDA thread. A block's threads take turns on one host thread: a thread runs until it has to
// wait, then another one, drawn at random, goes on. Blocks run one after the other in a random order. What the machine
// does beside its threads - copies by TMA, matrix products by wgmma - happens at random later moments. All randomness
// comes from one seed, so that a failure can be repeated. A kernel that is right gives the same bits with every seed;
// one that lacks a barrier sooner or later does not. Uninitialised memory is poisoned, and when no thread can go on,
// the launch fails with a text that says who waits for what.
//
// Not modelled: blocks that wait for one another, clusters, weak memory order between threads, timing, bank conflicts.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "fiber.hpp"

namespace panamoe::emulator {

constexpr unsigned kWarp = 32, kMaxThreads = 1024, kMultiprocessors = 4, kRegisters = 64 * 1024;
constexpr size_t kMaxSharedBytes = 227 * 1024;  // what a block can have on Hopper

class Asynchronous;
class Block;

// All launches after this one draw their schedules from seed; the same launches in the same order are scheduled alike.
void emulator_seed(uint64_t seed);

// A line of a kernel, for texts: what a thread calls takes it as its last argument, by default the caller's.
struct Where {
    const char *file = "";
    int line = 0;
    static constexpr Where current(const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
        return {file, line};
    }
};

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
    bool one_in(uint32_t n) { return below(n) == 0; }

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

// One seed gives each launch its own schedule.
struct Schedule {
    uint64_t seed, launch;  // launches since the seed was set
    uint64_t random_seed() const { return seed * 0x100000001b3u + launch; }
};

// Runs all blocks. Throws Error, which names the kernel, if the shape is not one that the device takes, if the kernel
// deadlocks or if it does what no kernel may do.
void run(const Launch &launch);

// What a thread waits for: for the report of a deadlock.
enum class Wait : uint8_t { none, time, syncthreads, warp, named_barrier, registers, mbarrier, fence, matrix, stores };
struct Waiting {
    Wait what = Wait::none;
    uint32_t number = 0;  // warp: the mask; named_barrier: its id; mbarrier: its index
    uint32_t detail = 0;  // mbarrier: the parity
    Where where;
};

struct Thread {
    Continuation continuation = nullptr;  // nullptr: not started
    Stacks::Stack stack{};
    uint3 index{};
    unsigned number = 0;  // in the block; x runs fastest
    bool done = false;
    Waiting waiting;
    uint64_t result = 0;  // what the one who wakes this thread has to tell it

    unsigned warp() const { return number / kWarp; }
    unsigned lane() const { return number % kWarp; }
};

// Threads are woken all at once.
using WaitingThreads = std::vector<Thread *>;

// __syncthreads, or bar.sync and bar.arrive of one id.
struct Barrier {
    unsigned arrived = 0;
    unsigned count = 0;  // named: how many must arrive
    int sum = 0;         // of the arrived threads' predicates
    uint64_t openings = 0;
    Where where;
    WaitingThreads waiting;
};

// What the lanes of a warp do together. From aligned on all living lanes take part, with equal operands.
enum class Collective : uint8_t {
    shuffle,
    ballot,
    sync,
    aligned,
    named_barrier,
    setmaxnreg,
    elect,
    matrix_load,
    matrix_store,
    wgmma,
    wgmma_commit,
    wgmma_wait,
};

// One such operation that has not yet been reached by all lanes of its mask.
struct Meeting {
    uint32_t mask = 0;  // 0: this place is free
    uint32_t arrived = 0;
    Collective kind{};
    uint64_t value[kWarp];
    uint8_t source[kWarp];  // shuffle: the lane whose value the lane wants
    Thread *thread[kWarp];
    Where where;
};

struct Warp {
    uint32_t alive = 0;
    Meeting meetings[4];
    unsigned registers = 0;        // of each thread
    bool registers_known = false;  // set by setmaxnreg; what the compiler chose for the launch we do not know
    uint32_t priority = 0;
    unsigned elected = 0;  // the lane that elect_one chooses, always the same
    uint64_t opening = 0;  // the one of a named barrier that the warp waits for
    // ldmatrix and stmatrix: each lane's address and registers.
    unsigned char *row[kWarp];
    uint32_t fragment[kWarp][4];
};

// Something that happens beside the threads.
struct Event {
    uint64_t tick, order;
    void (*happen)(Block &block, uint64_t argument);
    uint64_t argument;
    bool operator>(const Event &other) const { return tick != other.tick ? tick > other.tick : order > other.order; }
};

// The block that runs now.
class Block {
  public:
    Block(Stacks &stacks, unsigned char *shared);
    ~Block();
    Block(const Block &) = delete;
    Block &operator=(const Block &) = delete;

    void run(const Launch &launch, Schedule schedule, uint32_t number);
    void start_thread();  // the bottom of each thread's stack

    // ---- Called by the running thread ----

    // Returns when all living threads of the block have arrived: the number of those whose predicate is true.
    int sync_threads(bool predicate, Where where);
    // Returns when all living lanes of mask have arrived: the value of lane source, or the lanes whose value is not 0.
    uint64_t meet(uint32_t mask, Collective kind, uint64_t value, unsigned source, Where where);
    // Returns when all living lanes of the warp have arrived; they must bring the same operands. True for one of them,
    // which goes on before the others do.
    bool converge(Collective kind, uint64_t operands, Where where);
    void named_barrier(unsigned id, unsigned threads, bool waits, Where where);
    void set_registers(unsigned registers, bool more, Where where);
    bool elect_one(Where where);
    void load_matrices(uint32_t (&fragment)[4], const void *row, bool transposed, Where where);
    void store_matrices(const uint32_t (&fragment)[4], void *row, bool transposed, Where where);
    // A point at which others often get ahead, now and then very far.
    void pause();
    void wait(Waiting waiting, WaitingThreads &queue);

    // ---- Called by whoever has the turn ----

    // The launch fails with this text. Throws Error.
    [[noreturn]] [[gnu::format(printf, 2, 3)]] void fault(const char *format, ...) const;
    void wake_all(WaitingThreads &queue);
    void schedule(uint32_t delay, void (*happen)(Block &block, uint64_t argument), uint64_t argument);
    // In ticks, of which a thread's turn takes one: seldom much longer than each thread of the block has its turn.
    uint32_t random_delay();

    Asynchronous &asynchronous();
    Random &random() { return random_; }
    Thread &running() { return *running_; }
    unsigned lane() const { return running_->lane(); }
    uint32_t living_lanes(unsigned warp) const { return warps_[warp].alive; }
    unsigned threads() const { return static_cast<unsigned>(threads_.size()); }
    unsigned char *shared() const { return shared_; }
    size_t shared_bytes() const { return launch_->shared_bytes; }
    unsigned char poison() const { return poison_; }

  private:
    void prepare(const Launch &launch, uint64_t seed);
    void take_turns();
    bool event_is_due() const;
    void next_event();
    Thread *next_thread();
    void resume(Thread &thread);
    void suspend();
    void wake(Thread *thread);
    void finish(Thread &thread);
    void release(Barrier &barrier);
    void hold(Meeting &meeting);
    Meeting &find_meeting(uint32_t mask, Collective kind, uint32_t bit, Where where);
    void check_operands(const Meeting &meeting) const;
    unsigned char *matrix_row(const void *row, const char *what, Where where);
    void check_shared_memory() const;
    void give_back_stacks();
    std::string stuck_threads() const;
    std::string describe(const Thread &thread) const;

    Stacks &stacks_;
    const Launch *launch_ = nullptr;
    Random random_{0};
    std::vector<Thread> threads_;
    std::vector<Thread *> ready_;
    std::vector<Warp> warps_;
    Barrier all_;        // __syncthreads
    Barrier named_[16];  // 1 to 15
    unsigned alive_ = 0, free_registers_ = 0;
    unsigned candidates_ = 1;  // for the next turn: see next_thread
    WaitingThreads waiting_for_registers_;
    Thread *running_ = nullptr;  // nullptr: an event has the turn
    Continuation scheduler_ = nullptr;
    std::priority_queue<Event, std::vector<Event>, std::greater<Event>> events_;
    uint64_t tick_ = 0, order_ = 0;
    unsigned char *shared_;
    unsigned char poison_ = 0;
    bool failed_ = false;
    char failure_[512];
    std::unique_ptr<Asynchronous> asynchronous_;  // from its first use on
};

extern Block *block;

// "gemm.cu:57"
std::string place(Where where);
[[gnu::format(printf, 1, 2)]] std::string text(const char *format, ...);

}  // namespace panamoe::emulator
