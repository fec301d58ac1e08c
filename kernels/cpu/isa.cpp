// The one place where the name of an instruction set becomes its kernels.
#include "isa.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cstring>
#include <string>

#include "cpu_context.hpp"

namespace panamoe {

// Which of them there are is said in cmake/CMakeLists.txt.
namespace generic {
extern const Isa kIsa;
}
#if defined(PANAMOE_HAS_AVX2)
namespace avx2 {
extern const Isa kIsa;
}
#endif
#if defined(PANAMOE_HAS_AVX512)
namespace avx512 {
extern const Isa kIsa;
}
#endif
#if defined(PANAMOE_HAS_AVX512VNNI)
namespace avx512vnni {
extern const Isa kIsa;
}
#endif
#if defined(PANAMOE_HAS_LANES16)
namespace lanes16 {  // the 16 lanes of avx512 in AVX2 instructions, so that tests reach them on any machine
extern const Isa kIsa;
}
#endif

namespace {

struct Known {
    const Isa *isa;
    const char *lacks;  // what the CPU lacks for it; nullptr: nothing
};

#if defined(PANAMOE_HAS_AVX2)
const char *lacks_avx2() {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2")) return "avx2";
    if (!__builtin_cpu_supports("fma")) return "fma";
    unsigned eax, ebx, ecx, edx;  // clang 15 knows no f16c by name
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C) != 0 ? nullptr : "f16c";
}
#endif

#if defined(PANAMOE_HAS_AVX512)
const char *lacks_avx512() {
    if (const char *lack = lacks_avx2()) return lack;
    if (!__builtin_cpu_supports("avx512f")) return "avx512f";
    if (!__builtin_cpu_supports("avx512bw")) return "avx512bw";
    if (!__builtin_cpu_supports("avx512vl")) return "avx512vl";
    return __builtin_cpu_supports("avx512dq") ? nullptr : "avx512dq";
}
#endif

#if defined(PANAMOE_HAS_AVX512VNNI)
const char *lacks_avx512vnni() {
    if (const char *lack = lacks_avx512()) return lack;
    if (!__builtin_cpu_supports("avx512vnni")) return "avx512vnni";
    return __builtin_cpu_supports("avx512vbmi") ? nullptr : "avx512vbmi";
}
#endif

}  // namespace

const Isa &find_isa(const char *name) {
    const Known known[] = {  // worst first
        {&generic::kIsa, nullptr},
#if defined(PANAMOE_HAS_AVX2)
        {&avx2::kIsa, lacks_avx2()},
#endif
#if defined(PANAMOE_HAS_AVX512)
        {&avx512::kIsa, lacks_avx512()},
#endif
#if defined(PANAMOE_HAS_AVX512VNNI)
        {&avx512vnni::kIsa, lacks_avx512vnni()},
#endif
    };
#if defined(PANAMOE_HAS_LANES16)  // never the best
    if (name != nullptr && std::strcmp(name, "lanes16") == 0 && lacks_avx2() == nullptr) return lanes16::kIsa;
#endif
    const Isa *best = nullptr;
    std::string names;
    for (const Known &each : known) {
        if (name != nullptr && std::strcmp(name, each.isa->name) == 0) {
            require(each.lacks == nullptr, "open: isa=%s: this CPU lacks %s", name, each.lacks);
            return *each.isa;
        }
        if (each.lacks == nullptr) best = each.isa;
        names += std::string(" ") + each.isa->name;
    }
    require(name == nullptr, "open: isa=%s: this library has%s", name, names.c_str());
    return *best;
}

const char *isa_name(const Isa &isa) { return isa.name; }

}  // namespace panamoe
