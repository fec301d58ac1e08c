// The list of open contexts, and the functions of panamoe.h that are the same for every back end.
#include "contexts.hpp"

#include <cstdio>
#include <mutex>

namespace panamoe {
namespace {

// A list inside the sessions themselves: nothing to construct before or to destroy after main.
constinit std::mutex open_lock;
constinit Session *open_sessions = nullptr;

}  // namespace

void enlist(Session &session) {
    std::lock_guard lock(open_lock);
    session.next = open_sessions;
    open_sessions = &session;
}

bool delist(const pm_context *ctx) {
    std::lock_guard lock(open_lock);
    for (Session **at = &open_sessions; *at != nullptr; at = &(*at)->next) {
        if ((*at)->ctx != ctx) continue;
        *at = (*at)->next;
        return true;
    }
    return false;
}

Session *find_session(const pm_context *ctx) {
    if (ctx == nullptr) return nullptr;
    std::lock_guard lock(open_lock);
    Session *at = open_sessions;
    while (at != nullptr && at->ctx != ctx) at = at->next;
    return at;
}

void keep_error(Session &session, const char *text) { std::snprintf(session.error, sizeof session.error, "%s", text); }

void add_allocation(Session &session, void *data, int64_t bytes) {
    session.allocations.emplace(reinterpret_cast<uintptr_t>(data), bytes);
    session.allocated += bytes;
}

void remove_allocation(Session &session, void *data) {
    auto found = session.allocations.find(reinterpret_cast<uintptr_t>(data));
    require(found != session.allocations.end(), "free: %p is not memory of this context", data);
    session.allocated -= found->second;
    session.allocations.erase(found);
}

bool is_allocated(const Session &session, const void *data, int64_t bytes) {
    auto address = reinterpret_cast<uintptr_t>(data);
    auto after = session.allocations.upper_bound(address);
    if (after == session.allocations.begin()) return false;
    auto [start, size] = *--after;
    return bytes <= size && address - start <= static_cast<uintptr_t>(size - bytes);
}

}  // namespace panamoe

using namespace panamoe;

int32_t pm_abi(void) { return PM_ABI; }

const char *pm_error(const pm_context *ctx) {
    const Session *session = find_session(ctx);
    return session != nullptr ? session->error : kBackEnd.not_open;
}

const char *pm_describe(const pm_context *ctx) {
    const Session *session = find_session(ctx);
    return session != nullptr ? session->description.c_str() : "";
}

int64_t pm_allocated(const pm_context *ctx) {
    const Session *session = find_session(ctx);
    return session != nullptr ? session->allocated : 0;
}
