#include "copies.hpp"

#include <algorithm>
#include <cstring>

#include "asynchronous.hpp"

namespace panamoe::emulator {

using cuda::Swizzle;
using cuda::swizzled;

// ---- Boxes ----

Copies::Box Copies::make_box(const TensorMap *map, int rank, const void *shared, int x, int y, int z, const char *what,
                             Where where) const {
    if (map->valid != kValidMap || map->shape.rank != rank)
        block_.fault("%s at %s: not a tensor map of rank %d", what, place(where).c_str(), rank);
    Box box{map->shape, {x, y, z}, 0};
    box.offset = block_.asynchronous().offset(shared, box.bytes(), what, where);
    if (box.offset % 128 != 0)
        block_.fault("%s at %s: shared %u is not aligned to 128", what, place(where).c_str(), box.offset);
    return box;
}

// Bytes in a row are a tensor of 16-byte rows.
Copies::Box Copies::make_box(const void *global, const void *shared, uint32_t bytes, const char *what,
                             Where where) const {
    if (bytes % 16 != 0 || reinterpret_cast<uintptr_t>(global) % 16 != 0 ||
        reinterpret_cast<uintptr_t>(shared) % 16 != 0)
        block_.fault("%s at %s: %u bytes from %p to %p are not aligned to 16", what, place(where).c_str(), bytes,
                     global, shared);
    Box box{{global, 1, 2, {16, bytes / 16}, {0, 16}, {16, bytes / 16}, Swizzle::none}, {}, 0};
    box.offset = block_.asynchronous().offset(shared, bytes, what, where);
    return box;
}

Copies::Row Copies::find_row(const Box &box, uint32_t row) {
    const cuda::TensorShape &shape = box.shape;
    int64_t y = box.corner[1] + row % shape.box[1], z = shape.rank == 3 ? box.corner[2] + row / shape.box[1] : 0;
    auto outside = [&](int dimension, int64_t i) { return i < 0 || i >= static_cast<int64_t>(shape.size[dimension]); };
    if (outside(1, y) || (shape.rank == 3 && outside(2, z))) return {nullptr, 0, 0};
    int64_t width = shape.box[0], size = static_cast<int64_t>(shape.size[0]), x = box.corner[0];
    int64_t from = std::clamp<int64_t>(-x, 0, width), to = std::clamp<int64_t>(size - x, from, width);
    auto *data = static_cast<unsigned char *>(const_cast<void *>(shape.data)) +
                 y * static_cast<int64_t>(shape.stride[1]) + z * static_cast<int64_t>(shape.stride[2]) +
                 x * shape.element_bytes;
    return {data, static_cast<uint32_t>(from * shape.element_bytes), static_cast<uint32_t>(to * shape.element_bytes)};
}

// ---- Loads ----

void Copies::load(const TensorMap *map, int rank, uint64_t *mbarrier, void *to, int x, int y, int z, Where where) {
    load(make_box(map, rank, to, x, y, z, "tma_load", where), mbarrier, where);
}

void Copies::bulk_load(uint64_t *mbarrier, void *to, const void *from, uint32_t bytes, Where where) {
    load(make_box(from, to, bytes, "bulk_load", where), mbarrier, where);
}

void Copies::load(const Box &box, uint64_t *mbarrier, Where where) {
    uint32_t barrier = block_.asynchronous().find_mbarrier(mbarrier, where);
    Random &random = block_.random();
    uint32_t rows = box.rows(), pieces = random.one_in(2) ? 1 : std::min(rows, 2 + random.below(3));
    if (free_loads_.empty()) {
        free_loads_.push_back(static_cast<uint32_t>(loads_.size()));
        loads_.emplace_back();
    }
    uint32_t index = free_loads_.back();
    free_loads_.pop_back();
    loads_[index] = {box, barrier, pieces};
    for (uint32_t i = 0; i < pieces; i++) {
        uint64_t from = rows * i / pieces, to = rows * (i + 1) / pieces;
        block_.schedule(block_.random_delay(), land, uint64_t{index} << 32 | from << 16 | to);
    }
    block_.pause();
}

void Copies::land(Block &block, uint64_t piece) {
    Asynchronous &units = block.asynchronous();
    uint32_t index = static_cast<uint32_t>(piece >> 32), from = piece >> 16 & 0xffff, to = piece & 0xffff;
    Load &load = units.copies.loads_[index];
    const Box &box = load.box;
    uint32_t row_bytes = box.row_bytes();
    unsigned char bytes[256 * 4];
    for (uint32_t row = from; row < to; row++) {
        Row source = find_row(box, row);
        std::memset(bytes, 0, row_bytes);  // what lies outside the tensor
        if (source.to > source.from)
            std::memcpy(bytes + source.from, source.data + source.from, source.to - source.from);
        for (uint32_t i = 0; i < row_bytes; i += 16) {
            uint32_t at = swizzled(box.offset + row * row_bytes + i, box.shape.swizzle);
            std::memcpy(block.shared() + at, bytes + i, 16);
            std::memcpy(units.view(at), bytes + i, 16);
        }
    }
    uint32_t barrier = load.mbarrier;
    if (--load.pieces == 0) units.copies.free_loads_.push_back(index);
    units.land_bytes(barrier, (to - from) * row_bytes);
}

// ---- Stores ----

void Copies::store(const TensorMap *map, int rank, const void *from, int x, int y, int z, Where where) {
    store(make_box(map, rank, from, x, y, z, "tma_store", where));
}

void Copies::bulk_store(void *to, const void *from, uint32_t bytes, Where where) {
    store(make_box(to, from, bytes, "bulk_store", where));
}

void Copies::store(const Box &box) {
    groups_.resize(block_.threads());
    unsigned thread = block_.running().number;
    stores_.push_back({.box = box, .thread = thread, .group = groups_[thread].closed, .data = {}});
    if (block_.random().one_in(2)) schedule_store(stores_.size() - 1);
}

void Copies::schedule_store(size_t store) {
    if (stores_[store].scheduled) return;
    stores_[store].scheduled = true;
    block_.schedule(block_.random_delay(), stores_[store].read ? write : read, store);
}

void Copies::read(Block &block, uint64_t store) {
    Asynchronous &units = block.asynchronous();
    Store &self = units.copies.stores_[store];
    const Box &box = self.box;
    self.data.resize(box.bytes());
    for (uint32_t i = 0; i < box.bytes(); i += 16)
        std::memcpy(&self.data[i], units.view(swizzled(box.offset + i, box.shape.swizzle)), 16);
    self.read = true;
    self.scheduled = false;
    if (block.random().one_in(2)) units.copies.schedule_store(store);
    block.wake_all(units.copies.groups_[self.thread].waiting);
}

void Copies::write(Block &block, uint64_t store) {
    Copies &copies = block.asynchronous().copies;
    Store &self = copies.stores_[store];
    for (uint32_t row = 0; row < self.box.rows(); row++) {
        Row target = find_row(self.box, row);
        if (target.to > target.from)
            std::memcpy(target.data + target.from, &self.data[row * self.box.row_bytes() + target.from],
                        target.to - target.from);
    }
    self.data = {};
    self.written = true;
    block.wake_all(copies.groups_[self.thread].waiting);
}

void Copies::commit_stores() {
    groups_.resize(block_.threads());
    groups_[block_.running().number].closed++;
    block_.pause();
}

// Whether they are; if not, they will be.
bool Copies::stores_done(unsigned thread, uint64_t groups, bool read_only) {
    bool done = true;
    for (size_t i = 0; i < stores_.size(); i++) {
        const Store &each = stores_[i];
        if (each.thread != thread || each.group >= groups || (read_only ? each.read : each.written)) continue;
        schedule_store(i);
        done = false;
    }
    return done;
}

void Copies::wait_stores(unsigned groups, bool read_only, Where where) {
    groups_.resize(block_.threads());
    unsigned thread = block_.running().number;
    uint64_t closed = groups_[thread].closed, wanted = closed > groups ? closed - groups : 0;
    while (!stores_done(thread, wanted, read_only)) block_.wait({Wait::stores, 0, 0, where}, groups_[thread].waiting);
    forget_written_stores();
}

// Stores that still have an event keep their places.
void Copies::forget_written_stores() {
    while (!stores_.empty() && stores_.back().written) stores_.pop_back();
}

// ---- What must not be left behind ----

void Copies::check_end_of(const Thread &thread) const {
    for (const Store &each : stores_)
        if (each.thread == thread.number && !each.read)
            block_.fault("thread %u ends before its store from shared %u has read it", thread.number, each.box.offset);
}

void Copies::check_end() {
    for (size_t i = 0; i < stores_.size(); i++)
        if (!stores_[i].written) schedule_store(i);
    for (const Load &each : loads_)
        if (each.pieces > 0) block_.fault("ends while a load to shared %u is under way", each.box.offset);
}

}  // namespace panamoe::emulator
