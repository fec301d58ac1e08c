// Stacks, and the switch between them: all that a cooperative thread needs from the machine.
#pragma once

#include <cstddef>
#include <vector>

namespace panamoe::emulator {

// A place to go on from. What it points to depends on the machine; fiber.cpp alone knows.
using Continuation = void *;

// Stores where we are in *here and goes on at there. Returns when somebody goes on at *here.
extern "C" void panamoe_emulator_switch(Continuation *here, Continuation there);

// Stacks with a guard page below each. They are kept and used again: the one given back last is the first to be given
// out, so that threads which never wait all run on the same, warm stack.
class Stacks {
  public:
    Stacks() = default;
    ~Stacks();
    Stacks(const Stacks &) = delete;
    Stacks &operator=(const Stacks &) = delete;

    // A stack that runs body() when somebody switches to the continuation. body must never return. Throws
    // std::bad_alloc where there is no memory for a stack.
    struct Stack {
        char *top;
    };
    Stack take();
    void give_back(Stack stack) { free_.push_back(stack); }

    static Continuation prepare(Stack stack, void (*body)());

  private:
    std::vector<Stack> free_;
    std::vector<char *> mapped_;
};

}  // namespace panamoe::emulator
