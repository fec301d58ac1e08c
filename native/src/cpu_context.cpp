// Open, close, error, memory: what panamoe.h says about a context, for host memory and a pool of threads.
#include "cpu_context.hpp"

#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string_view>
#include <system_error>

namespace panamoe {
namespace {

// All open contexts. A list inside the contexts themselves: nothing to construct before or to destroy after main.
constinit std::mutex open_lock;
constinit pm_context *open_contexts = nullptr;

void enlist(pm_context *ctx) {
    std::lock_guard lock(open_lock);
    ctx->next = open_contexts;
    open_contexts = ctx;
}

bool delist(const pm_context *ctx) {
    std::lock_guard lock(open_lock);
    for (pm_context **at = &open_contexts; *at != nullptr; at = &(*at)->next) {
        if (*at != ctx) continue;
        *at = ctx->next;
        return true;
    }
    return false;
}

struct Options {
    std::string isa;  // empty: the best
    int threads = 0;  // 0: available()
};

Options parse(const char *text) {
    Options options;
    if (const char *isa = std::getenv("PANAMOE_ISA")) options.isa = isa;
    std::string_view rest = text == nullptr ? "" : text;
    while (!rest.empty()) {
        std::string pair(rest.substr(0, rest.find(' ')));
        rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
        if (pair.empty()) continue;
        size_t equals = pair.find('=');
        require(equals != std::string::npos, "open: \"%s\" is not key=value", pair.c_str());
        std::string key = pair.substr(0, equals), value = pair.substr(equals + 1);
        if (key == "threads") {
            auto [end, status] = std::from_chars(value.data(), value.data() + value.size(), options.threads);
            bool number = status == std::errc() && end == value.data() + value.size();
            require(number && options.threads >= 1 && options.threads <= Threads::kMost,
                    "open: threads=%s, must be 1 to %d", value.c_str(), Threads::kMost);
        } else if (key == "isa") {
            require(!value.empty(), "open: isa= names no instruction set");
            options.isa = value;
        } else {
            fail("open: unknown option \"%s\": there are threads and isa", key.c_str());
        }
    }
    return options;
}

void open(pm_context &ctx, const char *text) {
    Options options = parse(text);
    ctx.isa = &find_isa(options.isa.empty() ? nullptr : options.isa.c_str());
    int threads = options.threads == 0 ? Threads::available() : options.threads;
    ctx.scratch = allocate_aligned("open", threads * kScratchBytes);
    try {
        ctx.threads.emplace(threads);
    } catch (const std::system_error &error) {
        fail("open: threads=%d: the system gives no more threads: %s", threads, error.what());
    }
    ctx.description =
        std::string("backend=cpu isa=") + isa_name(*ctx.isa) + " threads=" + std::to_string(ctx.threads->count());
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

bool is_open(const pm_context *ctx) {
    if (ctx == nullptr) return false;
    std::lock_guard lock(open_lock);
    const pm_context *at = open_contexts;
    while (at != nullptr && at != ctx) at = at->next;
    return at != nullptr;
}

void keep_error(pm_context *ctx, const char *text) { std::snprintf(ctx->error, sizeof ctx->error, "%s", text); }

}  // namespace panamoe

using namespace panamoe;

int32_t pm_abi(void) { return PM_ABI; }

int32_t pm_open(pm_context **out, const char *options) {
    if (out == nullptr) return PM_FAILED;
    *out = new (std::nothrow) pm_context;
    if (*out == nullptr) return PM_FAILED;
    pm_context *ctx = *out;
    enlist(ctx);
    ctx->ready = true;
    int32_t status = guarded(ctx, [&] { open(*ctx, options); });
    ctx->ready = status == PM_OK;
    return status;
}

void pm_close(pm_context *ctx) {
    if (ctx == nullptr || !delist(ctx)) return;
    for (const auto &[data, bytes] : ctx->allocations) std::free(data);
    delete ctx;
}

const char *pm_error(const pm_context *ctx) {
    return is_open(ctx) ? ctx->error : "not an open context of libpanamoe_cpu";
}

const char *pm_describe(const pm_context *ctx) { return is_open(ctx) ? ctx->description.c_str() : ""; }

int32_t pm_memory(const pm_context *) { return PM_HOST; }

int32_t pm_allocate(pm_context *ctx, void **out, int64_t bytes) {
    return guarded(ctx, [&] {
        require(out != nullptr, "allocate: out is NULL");
        require(bytes >= 0, "allocate: %lld bytes", static_cast<long long>(bytes));
        require(bytes <= physical_memory() - ctx->allocated,
                "allocate: %lld bytes: out of memory: %lld are allocated, the machine has %lld",
                static_cast<long long>(bytes), static_cast<long long>(ctx->allocated),
                static_cast<long long>(physical_memory()));
        Aligned data = allocate_aligned("allocate", bytes);
        ctx->allocations.emplace(data.get(), bytes);
        ctx->allocated += bytes;
        *out = data.release();
    });
}

int32_t pm_free(pm_context *ctx, void *data) {
    return guarded(ctx, [&] {
        auto found = ctx->allocations.find(data);
        require(found != ctx->allocations.end(), "free: %p is not memory of this context", data);
        ctx->allocated -= found->second;
        ctx->allocations.erase(found);
        std::free(data);
    });
}

int64_t pm_allocated(const pm_context *ctx) { return is_open(ctx) ? ctx->allocated : 0; }

int32_t pm_copy(pm_context *ctx, void *to, const void *from, int64_t bytes) {
    return guarded(ctx, [&] {
        require(bytes >= 0, "copy: %lld bytes", static_cast<long long>(bytes));
        if (bytes == 0) return;
        require(to != nullptr && from != nullptr, "copy: %s is NULL", to == nullptr ? "to" : "from");
        std::memcpy(to, from, static_cast<size_t>(bytes));
    });
}

int32_t pm_synchronize(pm_context *ctx) {
    return guarded(ctx, [] {});
}
