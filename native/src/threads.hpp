// The threads of a context. A job is a number of pieces; whoever is free takes the next ones, fewer towards the
// end, so a slow core or a busy neighbour costs some pieces and not a barrier. Which thread computes a piece never
// shows in the result.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace panamoe {

class Threads {
  public:
    static constexpr int kMost = 1024;

    // Physical cores, no more than the process may use (affinity, cgroup quota).
    static int available();

    // The caller is one of the count threads. Throws std::system_error where the system gives no thread.
    explicit Threads(int count);
    ~Threads();
    Threads(const Threads &) = delete;
    Threads &operator=(const Threads &) = delete;

    int count() const { return static_cast<int>(workers_.size()) + 1; }

    // Calls body(piece, thread) once for each piece in [0, pieces), 0 <= thread < count(), and returns when all are
    // done. body must not throw.
    template <class Body>
    void run(int64_t pieces, const Body &body) {
        if (pieces <= 1 || workers_.empty()) {
            for (int64_t piece = 0; piece < pieces; piece++) body(piece, 0);
            return;
        }
        start({[](const void *context, int64_t piece, int thread) {
                   (*static_cast<const Body *>(context))(piece, thread);
               },
               &body, pieces});
    }

  private:
    struct Job {
        void (*call)(const void *context, int64_t piece, int thread);
        const void *context;
        int64_t pieces;
    };

    void start(Job job);
    void work(int thread);
    void worker(int thread);
    void stop();

    std::vector<std::thread> workers_;
    Job job_{};
    alignas(64) std::atomic<int64_t> next_{0};
    alignas(64) std::atomic<uint32_t> round_{0};  // counts jobs; idle workers wait for it to change
    alignas(64) std::atomic<uint32_t> gate_{0};   // kOpen while the job takes workers, plus the workers inside
    std::atomic<bool> stopping_{false};
};

}  // namespace panamoe
