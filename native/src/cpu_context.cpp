// Open, close, error, memory: what panamoe.h says about a context, for host memory and a pool of threads.
#include "cpu_context.hpp"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>

#include "checks.hpp"

namespace panamoe {

const BackEnd kBackEnd{"CPU", "not an open context of libpanamoe_cpu"};

namespace {

struct Options {
    std::string isa;  // empty: the best
    int threads = 0;  // 0: available()
};

Options parse(const char *text) {
    Options options;
    if (const char *isa = std::getenv("PANAMOE_ISA")) options.isa = isa;
    each_option(text, [&](const std::string &key, const std::string &value) {
        if (key == "threads") {
            require(parse_number(value, options.threads) && options.threads >= 1 && options.threads <= Threads::kMost,
                    "open: threads=%s, must be 1 to %d", value.c_str(), Threads::kMost);
        } else if (key == "isa") {
            require(!value.empty(), "open: isa= names no instruction set");
            options.isa = value;
        } else {
            fail("open: unknown option \"%s\": there are threads and isa", key.c_str());
        }
    });
    return options;
}

// What made this library, as one word.
std::string compiler() {
#if defined(__clang__)
    return "clang-" + std::to_string(__clang_major__) + "." + std::to_string(__clang_minor__);
#else
    return "gcc-" + std::to_string(__GNUC__) + "." + std::to_string(__GNUC_MINOR__);
#endif
}

void open(pm_context &ctx, const char *text) {
    Options options = parse(text);
    ctx.isa = &find_isa(options.isa.empty() ? nullptr : options.isa.c_str());
    int threads = options.threads == 0 ? Threads::available() : options.threads;
    ctx.scratch = allocate_aligned("open", threads * (kScratchBytes + kTileBytes));
    try {
        ctx.threads.emplace(threads);
    } catch (const std::system_error &error) {
        fail("open: threads=%d: the system gives no more threads: %s", threads, error.what());
    }
    ctx.session.description = "backend=cpu compiler=" + compiler() + " isa=" + isa_name(*ctx.isa) +
                              " threads=" + std::to_string(ctx.threads->count());
}

// What the machine has. More is refused here: a kernel that overcommits would grant it, and kill us at first touch.
int64_t physical_memory() {
    static const int64_t bytes = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
    return bytes;
}

}  // namespace

void FreeAligned::operator()(void *data) const { std::free(data); }

Aligned allocate_aligned(const char *operation, int64_t bytes) {
    void *data = nullptr;
    if (bytes <= physical_memory()) data = std::aligned_alloc(64, (static_cast<size_t>(bytes) + 64) / 64 * 64);
    require(data != nullptr, "%s: %lld bytes: out of memory", operation, static_cast<long long>(bytes));
    return Aligned(data);
}

}  // namespace panamoe

using namespace panamoe;

int32_t pm_open(pm_context **out, const char *options) {
    return open_context(out, [&](pm_context &ctx) { open(ctx, options); });
}

void pm_close(pm_context *ctx) {
    if (ctx == nullptr || !delist(ctx)) return;
    for (const auto &[address, bytes] : ctx->session.allocations) std::free(reinterpret_cast<void *>(address));
    delete ctx;
}

int32_t pm_memory(const pm_context *) { return PM_HOST; }

int32_t pm_allocate(pm_context *ctx, void **out, int64_t bytes) {
    return guarded(ctx, [&] {
        require_allocate(out, bytes);
        require(bytes <= physical_memory() - ctx->session.allocated,
                "allocate: %lld bytes: out of memory: %lld are allocated, the machine has %lld",
                static_cast<long long>(bytes), static_cast<long long>(ctx->session.allocated),
                static_cast<long long>(physical_memory()));
        Aligned data = allocate_aligned("allocate", bytes);
        add_allocation(ctx->session, data.get(), bytes);
        *out = data.release();
    });
}

int32_t pm_free(pm_context *ctx, void *data) {
    return guarded(ctx, [&] {
        remove_allocation(ctx->session, data);
        std::free(data);
    });
}

int32_t pm_copy(pm_context *ctx, void *to, const void *from, int64_t bytes) {
    return guarded(ctx, [&] {
        require_copy(to, from, bytes);
        if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
    });
}

int32_t pm_synchronize(pm_context *ctx) {
    return guarded(ctx, [] {});
}
