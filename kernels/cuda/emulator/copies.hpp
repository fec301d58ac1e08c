// Copies between global and shared memory by TMA.
//
// A load lands in pieces, at random moments and in any order, and each piece is counted when it lands. A store reads
// shared memory at one later moment and writes global memory at another, often not before a wait or the end forces it.
#pragma once

#include <cstdint>
#include <vector>

#include "../tensor_map.hpp"
#include "emulator.hpp"

namespace panamoe::emulator {

// Stands for a CUtensorMap and is as large.
struct alignas(64) TensorMap {
    cuda::TensorShape shape;
    uint32_t valid;  // kValidMap
};
static_assert(sizeof(TensorMap) == 128);
constexpr uint32_t kValidMap = 0x70616e61;

class Copies {
  public:
    explicit Copies(Block &block) : block_(block) {}

    void load(const TensorMap *map, int rank, uint64_t *mbarrier, void *to, int x, int y, int z, Where where);
    void store(const TensorMap *map, int rank, const void *from, int x, int y, int z, Where where);
    void bulk_load(uint64_t *mbarrier, void *to, const void *from, uint32_t bytes, Where where);
    void bulk_store(void *to, const void *from, uint32_t bytes, Where where);
    // Closes the running thread's group of stores.
    void commit_stores();
    // Returns when all but the thread's last groups have read shared memory and, unless read_only, are written.
    void wait_stores(unsigned groups, bool read_only, Where where);

    void check_end_of(const Thread &thread) const;
    void check_end();  // writes what is still to be written

  private:
    // A box and where it lies in shared memory: rows of box[0] elements one behind the other.
    struct Box {
        cuda::TensorShape shape;
        int64_t corner[3];
        uint32_t offset;

        uint32_t row_bytes() const { return shape.box[0] * static_cast<uint32_t>(shape.element_bytes); }
        uint32_t rows() const { return shape.box[1] * (shape.rank == 3 ? shape.box[2] : 1); }
        uint32_t bytes() const { return rows() * row_bytes(); }
    };
    struct Load {
        Box box;
        uint32_t mbarrier;
        uint32_t pieces;  // not yet landed
    };
    struct Store {
        Box box;
        unsigned thread;
        uint64_t group;
        std::vector<unsigned char> data;  // once it is read
        bool read = false, written = false;
        bool scheduled = false;  // the next of the two
    };
    struct Groups {  // of one thread
        uint64_t closed = 0;
        WaitingThreads waiting;
    };
    // The part of one of its rows that lies within the tensor.
    struct Row {
        unsigned char *data;
        uint32_t from, to;  // in bytes of the row
    };

    Box make_box(const TensorMap *map, int rank, const void *shared, int x, int y, int z, const char *what,
                 Where where) const;
    Box make_box(const void *global, const void *shared, uint32_t bytes, const char *what, Where where) const;
    static Row find_row(const Box &box, uint32_t row);
    void load(const Box &box, uint64_t *mbarrier, Where where);
    void store(const Box &box);
    void schedule_store(size_t store);
    bool stores_done(unsigned thread, uint64_t groups, bool read_only);
    void forget_written_stores();
    static void land(Block &block, uint64_t piece);
    static void read(Block &block, uint64_t store);
    static void write(Block &block, uint64_t store);

    Block &block_;
    std::vector<Load> loads_;
    std::vector<uint32_t> free_loads_;
    std::vector<Store> stores_;
    std::vector<Groups> groups_;
};

}  // namespace panamoe::emulator
