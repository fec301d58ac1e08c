// What all back ends do alike: the list of open contexts, how every function of the header is entered, options, and the
// account of memory. A pm_context holds a Session; the rest of it is its back end's own.
#pragma once

#include <charconv>
#include <cstdint>
#include <exception>
#include <map>
#include <new>
#include <string>
#include <string_view>

#include "boundary.hpp"
#include "panamoe.h"

namespace panamoe {

// Who this library is. Each back end defines its own.
struct BackEnd {
    const char *name;      // for texts: "the CPU back end has ..."
    const char *not_open;  // what pm_error says of anything that is no open context of this library
};
extern const BackEnd kBackEnd;

struct Session {
    const pm_context *ctx = nullptr;
    Session *next = nullptr;  // in the list of open contexts
    bool ready = false;       // false where pm_open failed: then error says why and stays
    char error[sizeof(Error::text)] = "";
    std::string description;
    std::map<uintptr_t, int64_t> allocations;  // bytes by address
    int64_t allocated = 0;
};

void enlist(Session &session);
bool delist(const pm_context *ctx);

// The session of an open context of this library, else nullptr. ctx is not read unless it is one: neither NULL, nor a
// closed context, nor one of another back end in the same process can crash us.
Session *find_session(const pm_context *ctx);

void keep_error(Session &session, const char *text);

// Notes what was allocated. May throw std::bad_alloc.
void add_allocation(Session &session, void *data, int64_t bytes);
// Throws Error "free: ... is not memory of this context".
void remove_allocation(Session &session, void *data);
// Whether the bytes from data on lie within one allocation.
bool is_allocated(const Session &session, const void *data, int64_t bytes);

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
int32_t guarded(const pm_context *ctx, Body body) noexcept {
    Session *session = find_session(ctx);
    if (session == nullptr || !session->ready) return PM_FAILED;
    StandardArithmetic standard;
    try {
        body();
        return PM_OK;
    } catch (const Error &error) {
        keep_error(*session, error.text);
    } catch (const std::bad_alloc &) {
        keep_error(*session, "out of memory");
    } catch (const std::exception &error) {
        keep_error(*session, error.what());
    } catch (...) {
        keep_error(*session, "unknown C++ exception");
    }
    return PM_FAILED;
}

// pm_open: makes a context and lets open(context) fill it in.
template <class Context, class Open>
int32_t open_context(Context **out, Open open) {
    if (out == nullptr) return PM_FAILED;
    *out = new (std::nothrow) Context;
    if (*out == nullptr) return PM_FAILED;
    Context &context = **out;
    context.session.ctx = *out;
    enlist(context.session);
    context.session.ready = true;
    int32_t status = guarded(*out, [&] { open(context); });
    context.session.ready = status == PM_OK;
    return status;
}

// Calls each(key, value) for the key=value pairs of pm_open's options.
template <class Each>
void each_option(const char *text, Each each) {
    std::string_view rest = text == nullptr ? "" : text;
    while (!rest.empty()) {
        std::string pair(rest.substr(0, rest.find(' ')));
        rest.remove_prefix(rest.size() > pair.size() ? pair.size() + 1 : pair.size());
        if (pair.empty()) continue;
        size_t equals = pair.find('=');
        require(equals != std::string::npos, "open: \"%s\" is not key=value", pair.c_str());
        each(pair.substr(0, equals), pair.substr(equals + 1));
    }
}

// Whether all of text is a number of this base, within the range of its type.
template <class Number>
bool parse_number(const std::string &text, Number &number, int base = 10) {
    auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number, base);
    return status == std::errc() && end == text.data() + text.size();
}

}  // namespace panamoe
