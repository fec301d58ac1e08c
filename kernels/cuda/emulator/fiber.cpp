#include "fiber.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <new>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace panamoe::emulator {
namespace {

constexpr size_t kGuardBytes = 4096;  // at least a page
constexpr size_t kStackBytes = 128 * 1024;
constexpr size_t kMappedBytes = kGuardBytes + kStackBytes;

}  // namespace

Stacks::~Stacks() {
    for (char *each : mapped_) munmap(each, kMappedBytes);
}

Stacks::Stack Stacks::take() {
    if (free_.empty()) {
        void *memory = mmap(nullptr, kMappedBytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
        if (memory == MAP_FAILED) throw std::bad_alloc();
        char *lowest = static_cast<char *>(memory);
        mapped_.push_back(lowest);
        mprotect(lowest, kGuardBytes, PROT_NONE);
        // Tops that lie at one offset of their pages would fight for the same cache lines.
        size_t colour = mapped_.size() % 32 * 320;
        free_.push_back({lowest + kMappedBytes - colour});
    }
    Stack stack = free_.back();
    free_.pop_back();
    return stack;
}

#if defined(__x86_64__)

// A continuation is a stack pointer. Below it lie what the System V ABI lets a function expect to find unchanged after
// a call: the control words of SSE and x87, six registers, and the address to go on at.
asm(R"(
    .text
    .globl panamoe_emulator_switch
    .hidden panamoe_emulator_switch
    .type panamoe_emulator_switch, @function
    .p2align 4
panamoe_emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    ldmxcsr (%rsp)
    fldcw 4(%rsp)
    addq $8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size panamoe_emulator_switch, .-panamoe_emulator_switch
)");

namespace {

struct Saved {
    uint32_t mxcsr;
    uint32_t x87;
    uint64_t registers[6];
    void (*resume)();
    void *return_address;  // of resume, which never returns
};

}  // namespace

Continuation Stacks::prepare(Stack stack, void (*body)()) {
    // On entry to body the stack pointer is 8 modulo 16, as after a call.
    static_assert(offsetof(Saved, return_address) == 64 && sizeof(Saved) == 72);
    Saved *saved = reinterpret_cast<Saved *>(stack.top - sizeof(Saved));
    std::memset(saved, 0, sizeof *saved);
    saved->mxcsr = __builtin_ia32_stmxcsr();
    saved->x87 = 0x37f;  // its state after a reset: extended precision, no traps
    saved->resume = body;
    return saved;
}

#else

// Elsewhere the C library's own switch, which costs a system call or two. A continuation is a ucontext_t.
Continuation Stacks::prepare(Stack stack, void (*body)()) {
    uintptr_t place = reinterpret_cast<uintptr_t>(stack.top - sizeof(ucontext_t)) & ~uintptr_t{63};
    ucontext_t *context = new (reinterpret_cast<void *>(place)) ucontext_t;
    getcontext(context);
    char *lowest = stack.top - kStackBytes / 2;
    context->uc_stack.ss_sp = lowest;
    context->uc_stack.ss_size = static_cast<size_t>(reinterpret_cast<char *>(place) - lowest);
    context->uc_link = nullptr;
    makecontext(context, body, 0);
    return context;
}

extern "C" void panamoe_emulator_switch(Continuation *here, Continuation there) {
    ucontext_t context;
    *here = &context;
    swapcontext(&context, static_cast<ucontext_t *>(there));
}

#endif

}  // namespace panamoe::emulator
