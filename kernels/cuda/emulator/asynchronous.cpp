#include "asynchronous.hpp"

#include <cstring>

namespace panamoe::emulator {

namespace {

// What the 8 bytes of an mbarrier hold: that it is one, and which.
constexpr uint64_t kMagic = 0x4d62'6172'0000'0000;  // "Mbar"
constexpr int64_t kMaxBytes = (1 << 20) - 1;        // that one phase can count

}  // namespace

Asynchronous::Asynchronous(Block &block)
    : copies(block), matrix(block), block_(block), view_(block.shared_bytes(), block.poison()) {}

// ---- mbarriers ----

void Asynchronous::init(uint64_t *barrier, unsigned count, Where where) {
    uint32_t at = offset(barrier, 8, "mbarrier", where);
    if (at % 8 != 0) block_.fault("mbarrier_init at %s: shared %u is not aligned to 8", place(where).c_str(), at);
    if (count < 1 || count > kMaxBytes) block_.fault("mbarrier_init at %s: count %u", place(where).c_str(), count);
    MBarrier fresh{.offset = at, .count = count, .pending = count, .owner = block_.running().number, .waiting = {}};
    mbarriers_.push_back(fresh);
    *barrier = kMagic | (mbarriers_.size() - 1);
}

uint32_t Asynchronous::find_mbarrier(const uint64_t *barrier, Where where) {
    uint32_t at = offset(barrier, 8, "mbarrier", where);
    uint32_t index = static_cast<uint32_t>(*barrier);
    if ((*barrier & ~uint64_t{0xffffffff}) != kMagic || index >= mbarriers_.size() || mbarriers_[index].offset != at)
        block_.fault("thread %u at %s: at shared %u there is no mbarrier", block_.running().number,
                     place(where).c_str(), at);
    const MBarrier &found = mbarriers_[index];
    if (!found.fenced && found.owner != block_.running().number)
        block_.fault("thread %u at %s: mbarrier at shared %u is used before its fence_barrier_init",
                     block_.running().number, place(where).c_str(), at);
    return index;
}

void Asynchronous::arrive(uint64_t *barrier, unsigned expected_bytes, Where where) {
    MBarrier &found = mbarriers_[find_mbarrier(barrier, where)];
    if (found.pending == 0)
        block_.fault("thread %u at %s: mbarrier at shared %u: one arrival more than its count, %u",
                     block_.running().number, place(where).c_str(), found.offset, found.count);
    found.bytes += expected_bytes;
    if (found.bytes > kMaxBytes)
        block_.fault("mbarrier at shared %u: %lld bytes expected, it counts to 2^20 - 1", found.offset,
                     static_cast<long long>(found.bytes));
    found.pending--;
    complete_if_due(found);
    block_.pause();
}

void Asynchronous::land_bytes(uint32_t mbarrier, uint32_t bytes) {
    mbarriers_[mbarrier].bytes -= bytes;
    complete_if_due(mbarriers_[mbarrier]);
}

void Asynchronous::complete_if_due(MBarrier &barrier) {
    if (barrier.pending > 0 || barrier.bytes != 0) return;
    barrier.phase++;
    barrier.pending = barrier.count;
    block_.wake_all(barrier.waiting);
}

void Asynchronous::wait(uint64_t *barrier, unsigned parity, Where where) {
    uint32_t index = find_mbarrier(barrier, where);
    if (parity > 1) block_.fault("mbarrier_wait at %s: parity %u", place(where).c_str(), parity);
    if (mbarriers_[index].phase % 2 == parity)
        block_.wait({Wait::mbarrier, index, parity, where}, mbarriers_[index].waiting);
}

void Asynchronous::fence_barrier_init() {
    for (MBarrier &each : mbarriers_)
        if (each.owner == block_.running().number) each.fenced = true;
    block_.pause();
}

std::string Asynchronous::describe_mbarrier(uint32_t index, uint32_t parity) const {
    const MBarrier &barrier = mbarriers_[index];
    return text("mbarrier at shared %u parity %u (phase %llu, %u of %u arrived, %lld bytes missing)", barrier.offset,
                parity, static_cast<unsigned long long>(barrier.phase), barrier.count - barrier.pending, barrier.count,
                static_cast<long long>(barrier.bytes));
}

// ---- The two views ----

// Those who fence within a short time share one snapshot. They have not gone on yet, so it holds nothing that they
// write after their fences.
void Asynchronous::fence_proxy(Where where) {
    if (fencing_.empty()) block_.schedule(block_.random().below(block_.threads() + 1), take_snapshot, 0);
    block_.wait({Wait::fence, 0, 0, where}, fencing_);
}

void Asynchronous::take_snapshot(Block &block, uint64_t) {
    Asynchronous &self = block.asynchronous();
    if (!self.view_.empty()) std::memcpy(self.view_.data(), block.shared(), self.view_.size());
    // It publishes mbarriers, too.
    for (Thread *each : self.fencing_)
        for (MBarrier &barrier : self.mbarriers_)
            if (barrier.owner == each->number) barrier.fenced = true;
    block.wake_all(self.fencing_);
}

uint32_t Asynchronous::offset(const void *pointer, size_t bytes, const char *what, Where where) const {
    auto at = reinterpret_cast<uintptr_t>(pointer), begin = reinterpret_cast<uintptr_t>(block_.shared());
    if (at < begin || at - begin > block_.shared_bytes() || bytes > block_.shared_bytes() - (at - begin))
        block_.fault("%s at %s: %zu bytes at shared %lld, the block has %zu", what, place(where).c_str(), bytes,
                     static_cast<long long>(at - begin), block_.shared_bytes());
    return static_cast<uint32_t>(at - begin);
}

// ---- What must not be left behind ----

void Asynchronous::check_end_of(const Thread &thread) const {
    copies.check_end_of(thread);
    matrix.check_end_of(thread);
}

void Asynchronous::check_end() {
    copies.check_end();
    for (const MBarrier &each : mbarriers_)
        if (each.bytes != 0)
            block_.fault("mbarrier at shared %u: %lld bytes %s than landed", each.offset,
                         static_cast<long long>(each.bytes > 0 ? each.bytes : -each.bytes),
                         each.bytes > 0 ? "more were expected" : "fewer were expected");
}

}  // namespace panamoe::emulator
