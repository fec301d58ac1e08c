// What a context of the CPU back end holds, and how every function of the header is entered.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <unordered_map>

#include "boundary.hpp"
#include "panamoe.h"
#include "threads.hpp"

namespace panamoe {

struct Isa;  // the kernels of one instruction set: kernels/cpu/isa.hpp

// The kernels called name; nullptr: the best this CPU has. Throws Error where the name or the CPU does not fit.
const Isa &find_isa(const char *name);
const char *isa_name(const Isa &isa);

// Working memory of one thread: decoded weights and partial sums. About half of a usual second-level cache.
constexpr int64_t kScratchBytes = 256 * 1024;

struct FreeAligned {
    void operator()(void *data) const;
};
using Aligned = std::unique_ptr<void, FreeAligned>;

// bytes of memory, aligned to 64. Throws Error "<operation>: N bytes: out of memory".
Aligned allocate_aligned(const char *operation, int64_t bytes);

}  // namespace panamoe

struct pm_context {
    pm_context *next = nullptr;  // in the list of open contexts
    bool ready = false;          // false where pm_open failed: then error says why and stays
    char error[sizeof(panamoe::Error::text)] = "";
    std::string description;
    const panamoe::Isa *isa = nullptr;
    std::optional<panamoe::Threads> threads;
    panamoe::Aligned scratch;  // kScratchBytes for each thread
    std::unordered_map<void *, int64_t> allocations;
    int64_t allocated = 0;

    void *scratch_of(int thread) { return static_cast<char *>(scratch.get()) + thread * panamoe::kScratchBytes; }
};

namespace panamoe {

// Whether ctx is an open context of this library. ctx is not read unless it is: neither NULL, nor a closed context, nor
// one of another back end in the same process can crash us.
bool is_open(const pm_context *ctx);

void keep_error(pm_context *ctx, const char *text);

// Results must not depend on the caller's rounding mode or on its treatment of subnormal numbers.
class StandardArithmetic {
  public:
    StandardArithmetic() : before_(read()) { write(kStandard); }
    ~StandardArithmetic() { write(before_); }
    StandardArithmetic(const StandardArithmetic &) = delete;
    StandardArithmetic &operator=(const StandardArithmetic &) = delete;

  private:
#if defined(__x86_64__)
    using Control = uint32_t;
    static constexpr Control kStandard = 0x1f80;  // nearest, subnormals kept, no traps
    static Control read() { return __builtin_ia32_stmxcsr(); }
    static void write(Control control) { __builtin_ia32_ldmxcsr(control); }
#elif defined(__aarch64__)
    using Control = uint64_t;
    static constexpr Control kStandard = 0;
    static Control read() {
        Control control;
        asm volatile("mrs %0, fpcr" : "=r"(control));
        return control;
    }
    static void write(Control control) { asm volatile("msr fpcr, %0" ::"r"(control)); }
#else
    using Control = int;
    static constexpr Control kStandard = 0;
    static Control read() { return 0; }
    static void write(Control) {}
#endif
    Control before_;
};

// Runs body; whatever it throws becomes PM_FAILED and a text in ctx.
template <class Body>
int32_t guarded(pm_context *ctx, Body body) noexcept {
    if (!is_open(ctx) || !ctx->ready) return PM_FAILED;
    StandardArithmetic standard;
    try {
        body();
        return PM_OK;
    } catch (const Error &error) {
        keep_error(ctx, error.text);
    } catch (const std::bad_alloc &) {
        keep_error(ctx, "out of memory");
    } catch (const std::exception &error) {
        keep_error(ctx, error.what());
    } catch (...) {
        keep_error(ctx, "unknown C++ exception");
    }
    return PM_FAILED;
}

}  // namespace panamoe
