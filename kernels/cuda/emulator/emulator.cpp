#include "emulator.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>

#include "asynchronous.hpp"
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

uint64_t count(dim3 size) { return uint64_t{size.x} * size.y * size.z; }

void check_shape(const Launch &launch) {
    dim3 grid = launch.grid, threads = launch.block;
    require(count(grid) > 0 && count(grid) <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535,
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

bool same(Where a, Where b) { return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0); }

}  // namespace

std::string text(const char *format, ...) {
    char result[sizeof(Error::text)];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(result, sizeof result, format, arguments);
    va_end(arguments);
    return result;
}

std::string place(Where where) {
    const char *slash = std::strrchr(where.file, '/');
    return text("%s:%d", slash ? slash + 1 : where.file, where.line);
}

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
    Schedule schedule{d.seed, d.launches++};
    Random random(schedule.random_seed());
    Block the_block(d.stacks, d.shared->dynamic());
    block = &the_block;
    blockDim = launch.block;
    gridDim = launch.grid;
    for (uint32_t each : shuffled(count(launch.grid), random)) {
        uint32_t row = each / launch.grid.x;
        blockIdx = {each % launch.grid.x, row % launch.grid.y, row / launch.grid.y};
        the_block.run(launch, schedule, each);
    }
}

// ---- The scheduler ----

Block::Block(Stacks &stacks, unsigned char *shared) : stacks_(stacks), shared_(shared) {}
Block::~Block() = default;

void Block::run(const Launch &launch, Schedule schedule, uint32_t number) {
    prepare(launch, schedule.random_seed() ^ (uint64_t{number} << 32));
    try {
        take_turns();
    } catch (const Error &error) {
        give_back_stacks();
        fail("%s: seed %llu, launch %llu, block (%u, %u, %u): %s", launch.name,
             static_cast<unsigned long long>(schedule.seed), static_cast<unsigned long long>(schedule.launch),
             blockIdx.x, blockIdx.y, blockIdx.z, error.text);
    }
    asynchronous_.reset();
}

void Block::prepare(const Launch &launch, uint64_t seed) {
    launch_ = &launch;
    random_ = Random(seed);
    unsigned n = static_cast<unsigned>(count(launch.block));
    alive_ = n;
    threads_.resize(n);
    ready_.clear();
    for (unsigned i = 0; i < n; i++) {
        unsigned row = i / launch.block.x;
        threads_[i] = {};
        threads_[i].number = i;
        threads_[i].index = {i - row * launch.block.x, row % launch.block.y, row / launch.block.y};
        ready_.push_back(&threads_[i]);
    }
    unsigned registers = std::min(kRegisters / n / 8 * 8, 256u);  // as if the kernel used what its launch leaves it
    free_registers_ = kRegisters - registers * n;
    for (Barrier &each : named_) each.arrived = 0;
    candidates_ = random_.one_in(2) ? 1 : 2 + random_.below(6);
    warps_.resize((n + kWarp - 1) / kWarp);
    for (unsigned w = 0; w < warps_.size(); w++) {
        warps_[w].alive = n - w * kWarp >= kWarp ? ~0u : (1u << n % kWarp) - 1;
        warps_[w].registers = registers;
        warps_[w].registers_known = false;
        warps_[w].priority = random_.bits();
        warps_[w].elected = random_.below(std::min(kWarp, n - w * kWarp));
    }
    // As a float: NaN, a large negative and a large positive number, so that neither a maximum nor a comparison hides
    // it.
    constexpr unsigned char kPatterns[] = {0xff, 0xcd, 0x7f};
    poison_ = kPatterns[random_.below(3)];
    std::memset(shared_ - kGuardBytes, poison_, launch.shared_bytes + 2 * kGuardBytes);
}

void Block::take_turns() {
    while (alive_ > 0) {
        if (event_is_due()) {
            next_event();
            continue;
        }
        if (ready_.empty()) fault("deadlock: %s", stuck_threads().c_str());
        tick_++;
        resume(*next_thread());
        if (failed_) fault("%s", failure_);
    }
    if (asynchronous_) asynchronous_->check_end();
    while (!events_.empty()) next_event();
    check_shared_memory();
}

// In some blocks every thread is as likely as any other. In others some warps get far ahead: of a few threads drawn,
// the one of highest priority has the turn.
Thread *Block::next_thread() {
    uint32_t n = static_cast<uint32_t>(ready_.size()), best = random_.below(n);
    for (unsigned i = 1; i < candidates_; i++) {
        uint32_t other = random_.below(n);
        if (warps_[ready_[other]->warp()].priority > warps_[ready_[best]->warp()].priority) best = other;
    }
    Thread *thread = ready_[best];
    ready_[best] = ready_.back();
    ready_.pop_back();
    return thread;
}

// Where no thread can go on, the next event is due whatever its tick.
bool Block::event_is_due() const { return !events_.empty() && (ready_.empty() || events_.top().tick <= tick_); }

void Block::next_event() {
    Event event = events_.top();
    events_.pop();
    tick_ = std::max(tick_, event.tick);
    event.happen(*this, event.argument);
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

void Block::suspend() { panamoe_emulator_switch(&running_->continuation, scheduler_); }

void Block::start_thread() {
    // Nothing may be thrown past the bottom of a stack.
    try {
        launch_->run_thread(launch_->kernel_and_arguments);
        finish(*running_);
    } catch (const Error &error) {
        failed_ = true;
        std::snprintf(failure_, sizeof failure_, "%s", error.text);
    } catch (...) {
        failed_ = true;
        std::snprintf(failure_, sizeof failure_, "the emulator is out of memory");
    }
    suspend();
}

// A thread that ends is no longer waited for.
void Block::finish(Thread &thread) {
    if (asynchronous_) asynchronous_->check_end_of(thread);
    thread.done = true;
    alive_--;
    if (alive_ > 0 && all_.arrived == alive_) release(all_);
    Warp &warp = warps_[thread.warp()];
    warp.alive &= ~(1u << thread.lane());
    for (Meeting &each : warp.meetings)
        if (each.mask != 0 && (each.mask & warp.alive & ~each.arrived) == 0) hold(each);
}

void Block::wait(Waiting waiting, WaitingThreads &queue) {
    queue.push_back(running_);
    running_->waiting = waiting;
    suspend();
}

void Block::wake(Thread *thread) {
    thread->waiting = {};
    ready_.push_back(thread);
}

void Block::wake_all(WaitingThreads &queue) {
    for (Thread *each : queue) wake(each);
    queue.clear();
}

void Block::schedule(uint32_t delay, void (*happen)(Block &block, uint64_t argument), uint64_t argument) {
    events_.push({tick_ + delay, order_++, happen, argument});
}

uint32_t Block::random_delay() {
    uint32_t kind = random_.below(16), once = threads();
    if (kind < 8) return random_.below(once / 4 + 1);
    if (kind < 15) return random_.below(once * 2);
    return random_.below(once * 32);
}

void Block::pause() {
    if (!random_.one_in(4)) return;
    uint32_t delay = random_.one_in(8) ? random_.below(threads() * 8) : random_.below(threads() / 2 + 1);
    auto wake_up = [](Block &self, uint64_t thread) { self.wake(&self.threads_[thread]); };
    schedule(delay, wake_up, running_->number);
    running_->waiting.what = Wait::time;
    suspend();
}

Asynchronous &Block::asynchronous() {
    if (!asynchronous_) asynchronous_ = std::make_unique<Asynchronous>(*this);
    return *asynchronous_;
}

// ---- What threads do together ----

int Block::sync_threads(bool predicate, Where where) {
    if (all_.arrived == 0) all_.where = where;
    if (!same(all_.where, where))
        fault("thread %u is in __syncthreads at %s, others at %s", running_->number, place(where).c_str(),
              place(all_.where).c_str());
    all_.sum += predicate;
    if (++all_.arrived == alive_) {
        int sum = all_.sum;
        release(all_);
        return sum;
    }
    wait({Wait::syncthreads, 0, 0, where}, all_.waiting);
    return static_cast<int>(running_->result);
}

void Block::release(Barrier &barrier) {
    for (Thread *each : barrier.waiting) each->result = static_cast<uint64_t>(barrier.sum);
    wake_all(barrier.waiting);
    barrier.arrived = 0;
    barrier.sum = 0;
}

void Block::named_barrier(unsigned id, unsigned threads, bool waits, Where where) {
    if (id < 1 || id > 15) fault("named barrier %u at %s: there are 1 to 15", id, place(where).c_str());
    if (threads == 0 || threads % kWarp != 0)
        fault("named barrier %u at %s: %u threads are not whole warps", id, place(where).c_str(), threads);
    Barrier &barrier = named_[id];
    Warp &warp = warps_[running_->warp()];
    // The warp arrives as a whole. Its other lanes hear from the last one which opening of the barrier they wait for.
    if (converge(Collective::named_barrier, uint64_t{id} << 32 | threads << 1 | waits, where)) {
        if (barrier.arrived == 0) {
            barrier.count = threads;
            barrier.where = where;
        }
        if (barrier.count != threads)
            fault("named barrier %u: %u threads at %s, %u at %s", id, threads, place(where).c_str(), barrier.count,
                  place(barrier.where).c_str());
        warp.opening = barrier.openings + 1;
        barrier.arrived += kWarp;
        if (barrier.arrived == barrier.count) {
            barrier.openings++;
            release(barrier);
        }
    }
    if (!waits) return pause();
    if (barrier.openings < warp.opening) wait({Wait::named_barrier, id, 0, where}, barrier.waiting);
}

// The device takes and gives registers warp by warp; a warp that wants more waits until others have given them.
void Block::set_registers(unsigned registers, bool more, Where where) {
    Warp &warp = warps_[running_->warp()];
    if (registers % 8 != 0 || registers < 24 || registers > 256)
        fault("setmaxnreg %u at %s: a multiple of 8 from 24 to 256 is wanted", registers, place(where).c_str());
    bool last_lane = converge(Collective::setmaxnreg, uint64_t{registers} << 1 | more, where);
    if (last_lane && warp.registers_known && (more ? registers < warp.registers : registers > warp.registers))
        fault("setmaxnreg.%s %u at %s: the warp has %u", more ? "inc" : "dec", registers, place(where).c_str(),
              warp.registers);
    if (!last_lane) {
        while (warp.registers != registers) wait({Wait::registers, registers, 0, where}, waiting_for_registers_);
        return;
    }
    while (registers > warp.registers && (registers - warp.registers) * kWarp > free_registers_)
        wait({Wait::registers, registers, 0, where}, waiting_for_registers_);
    free_registers_ += warp.registers * kWarp;
    free_registers_ -= registers * kWarp;
    warp.registers = registers;
    warp.registers_known = true;
    wake_all(waiting_for_registers_);
}

bool Block::elect_one(Where where) {
    Warp &warp = warps_[running_->warp()];
    if (converge(Collective::elect, 0, where) && !(warp.alive >> warp.elected & 1))
        warp.elected = static_cast<unsigned>(std::countr_zero(warp.alive));
    return lane() == warp.elected;
}

uint64_t Block::meet(uint32_t mask, Collective kind, uint64_t value, unsigned source, Where where) {
    Thread &self = *running_;
    uint32_t bit = 1u << lane();
    Warp &warp = warps_[self.warp()];
    if (!(mask & bit)) fault("thread %u at %s is not in its mask 0x%08x", self.number, place(where).c_str(), mask);
    Meeting &meeting = find_meeting(mask, kind, bit, where);
    meeting.arrived |= bit;
    meeting.value[lane()] = value;
    meeting.source[lane()] = static_cast<uint8_t>(source);
    if ((mask & warp.alive & ~meeting.arrived) == 0) {
        meeting.thread[lane()] = nullptr;  // this one does not wait
        hold(meeting);
    } else {
        meeting.thread[lane()] = &self;
        self.waiting = {Wait::warp, mask, 0, where};
        suspend();
    }
    return self.result;
}

bool Block::converge(Collective kind, uint64_t operands, Where where) {
    return meet(~0u, kind, operands, 0, where) != 0;
}

Meeting &Block::find_meeting(uint32_t mask, Collective kind, uint32_t bit, Where where) {
    Warp &warp = warps_[running_->warp()];
    Meeting *free = nullptr;
    for (Meeting &each : warp.meetings) {
        if (each.mask == mask && each.kind == kind && !(each.arrived & bit)) return each;
        if (each.mask == 0) free = &each;
    }
    if (!free)
        fault("warp %u at %s: its lanes are in many different operations", running_->warp(), place(where).c_str());
    free->mask = mask;
    free->kind = kind;
    free->arrived = 0;
    free->where = where;
    return *free;
}

// All have come: everyone gets the result. A lane that is not there gives poison to those who want its value.
void Block::hold(Meeting &meeting) {
    if (meeting.kind >= Collective::aligned && running_->done)
        fault("thread %u ends, the rest of its warp waits for it at %s", running_->number,
              place(meeting.where).c_str());
    if (meeting.kind >= Collective::aligned) check_operands(meeting);
    uint64_t ballot = 0;
    if (meeting.kind == Collective::ballot)
        for (unsigned i = 0; i < kWarp; i++)
            if (meeting.arrived >> i & 1 && meeting.value[i]) ballot |= 1u << i;
    for (unsigned i = 0; i < kWarp; i++) {
        if (!(meeting.arrived >> i & 1)) continue;
        Thread *waiting = meeting.thread[i];
        uint64_t result = ballot;
        if (meeting.kind == Collective::shuffle)
            result = meeting.arrived >> meeting.source[i] & 1 ? meeting.value[meeting.source[i]] : ~uint64_t{0};
        if (meeting.kind >= Collective::aligned) result = waiting == nullptr;  // who goes on first
        (waiting ? waiting : running_)->result = result;
        if (waiting) wake(waiting);
    }
    meeting.mask = 0;
}

void Block::check_operands(const Meeting &meeting) const {
    for (unsigned i = 0, first = kWarp; i < kWarp; i++) {
        if (!(meeting.arrived >> i & 1)) continue;
        if (first == kWarp) first = i;
        if (meeting.value[i] != meeting.value[first])
            fault("warp %u at %s: lanes %u and %u bring different operands", running_->warp(),
                  place(meeting.where).c_str(), first, i);
    }
}

// ---- ldmatrix and stmatrix: 8 x 8 elements of two bytes each ----
//
// Lane 8 m + r names row r of matrix m. Register m of lane l holds the two elements that begin at row l / 4, column
// 2 (l % 4) of matrix m; transposed, those at column l / 4 and rows 2 (l % 4) and 2 (l % 4) + 1.

namespace {

unsigned char *element(Warp &warp, unsigned matrix, unsigned lane, unsigned half, bool transposed) {
    unsigned row = lane / 4, column = 2 * (lane % 4) + half;
    if (transposed) std::swap(row, column);
    return warp.row[8 * matrix + row] + 2 * column;
}

}  // namespace

unsigned char *Block::matrix_row(const void *row, const char *what, Where where) {
    uint32_t offset = asynchronous().offset(row, 16, what, where);
    if (offset % 16 != 0) fault("%s at %s: shared %u is not aligned to 16", what, place(where).c_str(), offset);
    return shared_ + offset;
}

void Block::load_matrices(uint32_t (&fragment)[4], const void *row, bool transposed, Where where) {
    Warp &warp = warps_[running_->warp()];
    warp.row[lane()] = matrix_row(row, "ldmatrix", where);
    if (converge(Collective::matrix_load, transposed, where)) {
        for (unsigned i = 0; i < kWarp; i++)
            for (unsigned m = 0; m < 4; m++)
                for (unsigned half = 0; half < 2; half++)
                    std::memcpy(reinterpret_cast<char *>(&warp.fragment[i][m]) + 2 * half,
                                element(warp, m, i, half, transposed), 2);
    }
    // No lane comes here once more before all have gone on: the next operation of the warp lies between.
    std::memcpy(fragment, warp.fragment[lane()], sizeof fragment);
}

void Block::store_matrices(const uint32_t (&fragment)[4], void *row, bool transposed, Where where) {
    Warp &warp = warps_[running_->warp()];
    warp.row[lane()] = matrix_row(row, "stmatrix", where);
    std::memcpy(warp.fragment[lane()], fragment, sizeof fragment);
    if (converge(Collective::matrix_store, transposed, where)) {
        for (unsigned i = 0; i < kWarp; i++)
            for (unsigned m = 0; m < 4; m++)
                for (unsigned half = 0; half < 2; half++)
                    std::memcpy(element(warp, m, i, half, transposed),
                                reinterpret_cast<char *>(&warp.fragment[i][m]) + 2 * half, 2);
    }
}

// ---- What goes wrong ----

void Block::fault(const char *format, ...) const {
    Error error;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(error.text, sizeof error.text, format, arguments);
    va_end(arguments);
    throw error;
}

void Block::give_back_stacks() {
    for (const Thread &each : threads_)
        if (each.continuation && !each.done) stacks_.give_back(each.stack);
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
    if (thread.done) return "done";
    const Waiting &waiting = thread.waiting;
    std::string at = " at " + place(waiting.where);
    switch (waiting.what) {
        case Wait::none: return "ready";
        case Wait::time: return "a pause";
        case Wait::syncthreads: return text("__syncthreads%s, %u of %u arrived", at.c_str(), all_.arrived, alive_);
        case Wait::warp: {
            const Warp &warp = warps_[thread.warp()];
            uint32_t missing = 0;
            for (const Meeting &each : warp.meetings)
                if (each.mask == waiting.number && each.arrived >> thread.lane() & 1)
                    missing = each.mask & warp.alive & ~each.arrived;
            return text("warp operation%s, lanes 0x%x missing", at.c_str(), missing);
        }
        case Wait::named_barrier: {
            const Barrier &barrier = named_[waiting.number];
            return text("named barrier %u%s, %u of %u arrived", waiting.number, at.c_str(), barrier.arrived,
                        barrier.count);
        }
        case Wait::registers: return text("%u registers%s, %u are free", waiting.number, at.c_str(), free_registers_);
        case Wait::mbarrier: return asynchronous_->describe_mbarrier(waiting.number, waiting.detail) + at;
        case Wait::fence: return "fence" + at;
        case Wait::matrix: return "wgmma" + at;
        case Wait::stores: return "stores" + at;
    }
    return "";
}

void Block::check_shared_memory() const {
    unsigned char guard[kGuardBytes];
    std::memset(guard, poison_, sizeof guard);
    if (std::memcmp(shared_ - kGuardBytes, guard, sizeof guard) != 0) fault("wrote below its shared memory");
    if (std::memcmp(shared_ + launch_->shared_bytes, guard, sizeof guard) != 0)
        fault("wrote beyond its %zu bytes of shared memory", launch_->shared_bytes);
}

}  // namespace panamoe::emulator
