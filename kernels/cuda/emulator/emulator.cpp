#include "emulator.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>

#include "boundary.hpp"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace panamoe::emulator {

Block *block;

namespace {

// Shared memory is one mapped window with guard pages around it. As on the device, a block's own part does not begin at
// address 0: the first KiB belongs to the system. kGuardBytes before and behind the block's part are poisoned too and
// must still be so when the block ends.
constexpr size_t kPage = 4096, kSystemBytes = 1024, kGuardBytes = 256;
constexpr size_t kWindowBytes = 232 * 1024;
static_assert(kSystemBytes + kMaxSharedBytes + kGuardBytes <= kWindowBytes && kGuardBytes <= kSystemBytes);

class SharedWindow {
  public:
    SharedWindow() {
        void *memory = mmap(nullptr, kWindowBytes + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) throw std::bad_alloc();
        mapped_ = static_cast<unsigned char *>(memory);
        if (mprotect(mapped_ + kPage, kWindowBytes, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
    }
    ~SharedWindow() { munmap(mapped_, kWindowBytes + 2 * kPage); }
    SharedWindow(const SharedWindow &) = delete;
    SharedWindow &operator=(const SharedWindow &) = delete;
    unsigned char *dynamic() const { return mapped_ + kPage + kSystemBytes; }

  private:
    unsigned char *mapped_;
};

// There is one device, and it runs one launch at a time.
struct Device {
    std::mutex mutex;
    uint64_t seed = 1, launches = 0;
    Stacks stacks;
    std::unique_ptr<SharedWindow> shared;
};

Device &device() {
    static Device device;
    return device;
}

void thread_entry() { block->start_thread(); }

std::string format_text(const char *format, va_list arguments) {
    char text[sizeof(Error::text)];
    std::vsnprintf(text, sizeof text, format, arguments);
    return text;
}

[[gnu::format(printf, 1, 2)]] std::string text(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    std::string result = format_text(format, arguments);
    va_end(arguments);
    return result;
}

// "gemm.cu:57"
std::string place(std::source_location where) {
    const char *slash = std::strrchr(where.file_name(), '/');
    return text("%s:%u", slash ? slash + 1 : where.file_name(), static_cast<unsigned>(where.line()));
}

uint64_t count(dim3 size) { return uint64_t{size.x} * size.y * size.z; }

void check_shape(const Launch &launch) {
    dim3 grid = launch.grid, threads = launch.block;
    require(count(grid) > 0 && grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535,
            "%s: a grid of %u x %u x %u blocks: invalid configuration", launch.name, grid.x, grid.y, grid.z);
    require(count(threads) > 0 && count(threads) <= kMaxThreads && threads.x <= 1024 && threads.y <= 1024 &&
                threads.z <= 64,
            "%s: a block of %u x %u x %u threads: invalid configuration", launch.name, threads.x, threads.y, threads.z);
    require(launch.shared_bytes <= kMaxSharedBytes, "%s: %zu bytes of shared memory, a block can have %zu", launch.name,
            launch.shared_bytes, kMaxSharedBytes);
}

std::vector<uint32_t> shuffled(uint64_t n, Random &random) {
    std::vector<uint32_t> order(n);
    for (uint32_t i = 0; i < n; i++) order[i] = i;
    for (uint32_t i = static_cast<uint32_t>(n); i > 1; i--) std::swap(order[i - 1], order[random.below(i)]);
    return order;
}

}  // namespace

void emulator_seed(uint64_t seed) {
    std::lock_guard lock(device().mutex);
    device().seed = seed;
    device().launches = 0;
}

void run(const Launch &launch) {
    check_shape(launch);
    Device &d = device();
    std::lock_guard lock(d.mutex);
    if (!d.shared) d.shared = std::make_unique<SharedWindow>();
    uint64_t seed = d.seed * 0x100000001b3u + d.launches++;

    Random random(seed);
    Block the_block(d.stacks, d.shared->dynamic());
    block = &the_block;
    blockDim = launch.block;
    gridDim = launch.grid;
    for (uint32_t each : shuffled(count(launch.grid), random)) {
        uint32_t row = each / launch.grid.x;
        blockIdx = {each % launch.grid.x, row % launch.grid.y, row / launch.grid.y};
        the_block.run(launch, seed ^ (uint64_t{each} << 32));
    }
    block = nullptr;
}

// ---- The scheduler ----

void Block::run(const Launch &launch, uint64_t seed) {
    launch_ = &launch;
    random_ = Random(seed);
    unsigned n = static_cast<unsigned>(count(launch.block));
    alive_ = n;
    threads_.resize(n);
    warps_.resize((n + kWarp - 1) / kWarp);
    for (unsigned w = 0; w < warps_.size(); w++) warps_[w].alive = n - w * kWarp >= kWarp ? ~0u : (1u << n % kWarp) - 1;
    ready_.clear();
    for (unsigned i = 0; i < n; i++) {
        unsigned row = i / launch.block.x;
        threads_[i] = {};
        threads_[i].number = i;
        threads_[i].index = {i - row * launch.block.x, row % launch.block.y, row / launch.block.y};
        ready_.push_back(&threads_[i]);
    }
    poison_shared_memory();
    while (alive_ > 0) {
        if (ready_.empty()) report("deadlock: " + stuck_threads());
        std::swap(ready_[random_.below(static_cast<uint32_t>(ready_.size()))], ready_.back());
        Thread *thread = ready_.back();
        ready_.pop_back();
        resume(*thread);
        if (failed_) report(failure_);
    }
    check_shared_memory();
}

void Block::resume(Thread &thread) {
    if (!thread.continuation) {
        thread.stack = stacks_.take();
        thread.continuation = Stacks::prepare(thread.stack, thread_entry);
    }
    running_ = &thread;
    threadIdx = thread.index;
    panamoe_emulator_switch(&scheduler_, thread.continuation);
    running_ = nullptr;
    if (thread.done) stacks_.give_back(thread.stack);
}

void Block::start_thread() {
    launch_->run_thread(launch_->kernel_and_arguments);
    finish(*running_);
    Continuation never;
    panamoe_emulator_switch(&never, scheduler_);
}

// A thread that ends is no longer waited for.
void Block::finish(Thread &thread) {
    thread.done = true;
    alive_--;
    if (alive_ > 0 && all_.arrived == alive_) wake_all(all_);
    Warp &warp = warps_[thread.number / kWarp];
    warp.alive &= ~(1u << thread.number % kWarp);
    for (Meeting &each : warp.meetings)
        if (each.mask != 0 && (each.mask & warp.alive & ~each.arrived) == 0) hold(each);
}

void Block::wait(Waiting waiting) {
    Thread &self = *running_;
    self.waiting = waiting;
    panamoe_emulator_switch(&self.continuation, scheduler_);
}

void Block::wake(Thread *thread) {
    thread->waiting = {};
    ready_.push_back(thread);
}

void Block::wake_all(Barrier &barrier) {
    for (Thread *each : barrier.waiting) {
        each->result = static_cast<uint64_t>(barrier.sum);
        wake(each);
    }
    barrier.waiting.clear();
    barrier.arrived = 0;
    barrier.sum = 0;
}

// ---- What threads do together ----

int Block::sync_threads(bool predicate, std::source_location where) {
    if (all_.arrived == 0) all_.where = where;
    if (all_.where.line() != where.line() || std::strcmp(all_.where.file_name(), where.file_name()) != 0)
        fault("thread %u is in __syncthreads at %s, others at %s", running_->number, place(where).c_str(),
              place(all_.where).c_str());
    all_.sum += predicate;
    if (++all_.arrived == alive_) {
        int sum = all_.sum;
        wake_all(all_);
        return sum;
    }
    all_.waiting.push_back(running_);
    wait({Wait::syncthreads, 0, where});
    return static_cast<int>(running_->result);
}

uint64_t Block::meet(uint32_t mask, Collective kind, uint64_t value, unsigned source, std::source_location where) {
    Thread &self = *running_;
    uint32_t bit = 1u << lane();
    Warp &warp = warps_[self.number / kWarp];
    if (!(mask & bit)) fault("thread %u at %s is not in its mask 0x%08x", self.number, place(where).c_str(), mask);
    Meeting &meeting = find_meeting(mask, kind, bit);
    meeting.arrived |= bit;
    meeting.value[lane()] = value;
    meeting.source[lane()] = static_cast<uint8_t>(source);
    meeting.thread[lane()] = &self;
    if ((mask & warp.alive & ~meeting.arrived) == 0) {
        meeting.thread[lane()] = nullptr;  // this one does not wait
        hold(meeting);
    } else {
        wait({Wait::warp, mask, where});
    }
    return self.result;
}

Meeting &Block::find_meeting(uint32_t mask, Collective kind, uint32_t bit) {
    Warp &warp = warps_[running_->number / kWarp];
    Meeting *free = nullptr;
    for (Meeting &each : warp.meetings) {
        if (each.mask == mask && each.kind == kind && !(each.arrived & bit)) return each;
        if (each.mask == 0) free = &each;
    }
    if (!free) fault("warp %u: its lanes are in too many different operations", running_->number / kWarp);
    free->mask = mask;
    free->kind = kind;
    free->arrived = 0;
    return *free;
}

// All have come: everyone gets the result. A lane that is not there gives poison to those who want its value.
void Block::hold(Meeting &meeting) {
    uint64_t ballot = 0;
    if (meeting.kind == Collective::ballot)
        for (unsigned i = 0; i < kWarp; i++)
            if (meeting.arrived >> i & 1 && meeting.value[i]) ballot |= 1u << i;
    for (unsigned i = 0; i < kWarp; i++) {
        if (!(meeting.arrived >> i & 1)) continue;
        uint64_t result = ballot;
        if (meeting.kind == Collective::shuffle)
            result = meeting.arrived >> meeting.source[i] & 1 ? meeting.value[meeting.source[i]] : ~uint64_t{0};
        Thread *waiting = meeting.thread[i];
        (waiting ? waiting : running_)->result = result;
        if (waiting) wake(waiting);
    }
    meeting.mask = 0;
}

// ---- What goes wrong ----

void Block::fault(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    failure_ = format_text(format, arguments);
    va_end(arguments);
    failed_ = true;
    Continuation never;
    panamoe_emulator_switch(&never, scheduler_);
    __builtin_unreachable();
}

void Block::report(const std::string &what) const {
    for (const Thread &each : threads_)
        if (each.continuation && !each.done) stacks_.give_back(each.stack);
    fail("%s: block (%u, %u, %u): %s", launch_->name, blockIdx.x, blockIdx.y, blockIdx.z, what.c_str());
}

std::string Block::stuck_threads() const {
    std::string result;
    for (unsigned from = 0; from < threads_.size();) {
        std::string what = describe(threads_[from]);
        unsigned to = from + 1;
        while (to < threads_.size() && describe(threads_[to]) == what) to++;
        if (!threads_[from].done) {
            if (!result.empty()) result += "; ";
            result += to - from == 1 ? text("thread %u: ", from) : text("threads %u-%u: ", from, to - 1);
            result += what;
        }
        from = to;
    }
    return result;
}

std::string Block::describe(const Thread &thread) const {
    const Waiting &waiting = thread.waiting;
    std::string where = thread.done ? "" : place(waiting.where);
    switch (waiting.what) {
        case Wait::none: return thread.done ? "done" : "ready";
        case Wait::syncthreads:
            return text("__syncthreads at %s, %u of %u arrived", where.c_str(), all_.arrived, alive_);
        case Wait::warp: {
            uint32_t alive = warps_[thread.number / kWarp].alive;
            for (const Meeting &each : warps_[thread.number / kWarp].meetings)
                if (each.mask == waiting.number && each.arrived >> thread.number % kWarp & 1)
                    return text("warp operation at %s, lanes 0x%x missing", where.c_str(),
                                each.mask & alive & ~each.arrived);
            return "warp operation at " + where;
        }
    }
    return "";
}

void Block::poison_shared_memory() {
    // As a float: NaN, a large negative and a large positive number, so that neither a maximum nor a comparison hides
    // it.
    constexpr unsigned char kPatterns[] = {0xff, 0xcd, 0x7f};
    poison_ = kPatterns[random_.below(3)];
    std::memset(shared_ - kGuardBytes, poison_, launch_->shared_bytes + 2 * kGuardBytes);
}

void Block::check_shared_memory() const {
    unsigned char guard[kGuardBytes];
    std::memset(guard, poison_, sizeof guard);
    if (std::memcmp(shared_ - kGuardBytes, guard, sizeof guard) != 0) report("wrote below its shared memory");
    if (std::memcmp(shared_ + launch_->shared_bytes, guard, sizeof guard) != 0)
        report(text("wrote beyond its %zu bytes of shared memory", launch_->shared_bytes));
}

}  // namespace panamoe::emulator
