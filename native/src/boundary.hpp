// The wall between C callers and our C++: nothing unwinds past guarded(), and what went wrong becomes a text.
#pragma once

#include <cstdarg>
#include <cstdio>

namespace panamoe {

// Thrown inside the library alone. The text has its own room, so that reporting never allocates.
struct Error {
    char text[512];
};

[[noreturn]] [[gnu::format(printf, 1, 2)]] inline void fail(const char *format, ...) {
    Error error;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(error.text, sizeof error.text, format, arguments);
    va_end(arguments);
    throw error;
}

// format and the arguments name the operation and both sides: "embed: token_T[3] is 70000, V is 512".
template <class... Arguments>
void require(bool holds, const char *format, Arguments... arguments) {
    if (holds) [[likely]]
        return;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
    fail(format, arguments...);
#pragma GCC diagnostic pop
}

}  // namespace panamoe
