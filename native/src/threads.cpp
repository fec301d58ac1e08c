#include "threads.hpp"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <set>
#include <utility>

namespace panamoe {
namespace {

constexpr uint32_t kOpen = 1u << 31;

// Long enough to catch the next call of a decode step, short enough not to steal a neighbour's core.
constexpr std::chrono::microseconds kSpin{5};

// Pieces that are taken at once, while many are left. What a piece asks for ahead at its end belongs to the next one:
// the same thread had better take it.
constexpr int64_t kRun = 8;

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Until value differs from old: a short spin, then a sleep in the kernel.
void await_change(const std::atomic<uint32_t> &value, uint32_t old) {
    auto until = std::chrono::steady_clock::now() + kSpin;
    do {
        for (int i = 0; i < 32; i++) {
            if (value.load(std::memory_order_acquire) != old) return;
            pause();
        }
    } while (std::chrono::steady_clock::now() < until);
    value.wait(old, std::memory_order_acquire);
}

int read_int(const char *path) {
    int value = -1;
    if (FILE *file = std::fopen(path, "re")) {
        if (std::fscanf(file, "%d", &value) != 1) value = -1;
        std::fclose(file);
    }
    return value;
}

// CPUs' worth of time that the cgroup grants, rounded up; a large number where nothing limits it.
int quota() {
    int result = Threads::kMost;
    if (FILE *file = std::fopen("/sys/fs/cgroup/cpu.max", "re")) {
        long long limit, period;  // "max 100000" does not match
        if (std::fscanf(file, "%lld %lld", &limit, &period) == 2 && limit > 0 && period > 0)
            result = static_cast<int>(std::min<long long>((limit + period - 1) / period, Threads::kMost));
        std::fclose(file);
    }
    return result;
}

}  // namespace

int Threads::available() {
    // Larger than cpu_set_t's 1024: machines with more CPUs exist, and the system call refuses a mask that is too
    // short.
    constexpr int kCpus = 16384;
    cpu_set_t *mask = CPU_ALLOC(kCpus);
    if (mask == nullptr) return 1;
    size_t size = CPU_ALLOC_SIZE(kCpus);
    CPU_ZERO_S(size, mask);
    std::set<std::pair<int, int>> cores;
    if (sched_getaffinity(0, size, mask) == 0) {
        for (int cpu = 0; cpu < kCpus; cpu++) {
            if (!CPU_ISSET_S(static_cast<size_t>(cpu), size, mask)) continue;
            char path[96];
            std::snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/physical_package_id", cpu);
            int package = read_int(path);
            std::snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/core_id", cpu);
            int core = read_int(path);
            // Without a topology each CPU counts as a core of its own.
            cores.insert(core < 0 ? std::pair{-1, cpu} : std::pair{package, core});
        }
    }
    CPU_FREE(mask);
    return std::clamp(std::min(static_cast<int>(cores.size()), quota()), 1, kMost);
}

Threads::Threads(int count) {
    // Signals are the host application's: our threads take none.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
        for (int thread = 1; thread < count; thread++) {
            workers_.emplace_back(&Threads::worker, this, thread);
            pthread_setname_np(workers_.back().native_handle(), "panamoe");
        }
    } catch (...) {
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
        stop();
        throw;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Threads::~Threads() { stop(); }

void Threads::stop() {
    stopping_.store(true);
    round_.fetch_add(1);
    round_.notify_all();
    for (std::thread &worker : workers_) worker.join();
    workers_.clear();
}

void Threads::start(Job job) {
    job_ = job;
    next_.store(0, std::memory_order_relaxed);
    gate_.store(kOpen, std::memory_order_release);
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
    work(0);
    // No piece is left: close the gate to workers that are still waking up, and wait for those inside.
    uint32_t inside = gate_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
    while (inside != 0) {
        await_change(gate_, inside);
        inside = gate_.load(std::memory_order_acquire);
    }
}

void Threads::work(int thread) {
    int64_t piece = next_.load(std::memory_order_relaxed);
    while (piece < job_.pieces) {
        int64_t end = piece + std::clamp<int64_t>((job_.pieces - piece) / (2 * count()), 1, kRun);
        if (!next_.compare_exchange_weak(piece, end, std::memory_order_relaxed)) continue;
        for (; piece < end; piece++) job_.call(job_.context, piece, thread);
        piece = next_.load(std::memory_order_relaxed);
    }
}

void Threads::worker(int thread) {
    uint32_t seen = 0;
    for (;;) {
        await_change(round_, seen);
        seen = round_.load(std::memory_order_acquire);
        if (stopping_.load(std::memory_order_acquire)) return;
        uint32_t gate = gate_.load(std::memory_order_acquire);
        while ((gate & kOpen) != 0 &&
               !gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
        }
        if ((gate & kOpen) == 0) continue;  // late: the others have finished
        work(thread);
        if (gate_.fetch_sub(1, std::memory_order_acq_rel) == 1) gate_.notify_one();
    }
}

}  // namespace panamoe
