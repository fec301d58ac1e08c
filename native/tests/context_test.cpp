// Contexts, memory, threads, and everything that must be refused.
#include <atomic>
#include <cstdlib>
#include <thread>

#include "check.hpp"

using namespace check;

namespace {

void test_options() {
    struct Case {
        const char *options, *error;
    };
    for (auto [options, error] : {Case{"thread=2", "unknown option \"thread\""},
                                  {"threads", "\"threads\" is not key=value"},
                                  {"threads=", "threads="},
                                  {"threads=two", "threads=two"},
                                  {"threads=0", "threads=0"},
                                  {"threads=-1", "threads=-1"},
                                  {"threads=2x", "threads=2x"},
                                  {"threads=99999999999999", "threads=99999999999999"},
                                  {"threads=1025", "must be 1 to 1024"},
                                  {"isa=mmx", "isa=mmx: this library has"},
                                  {"isa=", "isa="},
                                  {"threads=1 device=0", "unknown option \"device\""}}) {
        Context context(options);
        expect(context.status == PM_FAILED && context.ctx != nullptr, "\"%s\" was accepted", options);
        expect(std::strstr(context.error(), error) != nullptr, "\"%s\": error is \"%s\", should contain \"%s\"",
               options, context.error(), error);
        // Only the error lives on: nothing else works, and nothing replaces it.
        void *data;
        expect(pm_allocate(context, &data, 8) == PM_FAILED, "a context that failed to open allocates");
        expect(std::strstr(context.error(), error) != nullptr, "the error was replaced by \"%s\"", context.error());
        expect(pm_describe(context) != nullptr && pm_allocated(context) == 0,
               "describe and allocated of a failed context");
    }
    for (const char *options : {"", "  ", "threads=1", " threads=3  isa=generic "}) {
        Context context(options);
        expect(context.status == PM_OK, "\"%s\": %s", options, context.error());
    }
    Context context("threads=3 isa=generic");
    std::string described = pm_describe(context);
    expect(described.starts_with("backend=cpu compiler=") && described.ends_with(" isa=generic threads=3"),
           "described as \"%s\"", described.c_str());
    expect(pm_memory(context) == PM_HOST && pm_abi() == PM_ABI, "memory or ABI");
    pm_context *none = nullptr;
    expect(pm_open(&none, nullptr) == PM_OK, "NULL options: %s", pm_error(none));
    pm_close(none);
    expect(pm_open(nullptr, "") == PM_FAILED, "nowhere to put a context");
}

// PANAMOE_ISA supplies the default, the option overrides it.
void test_environment() {
    setenv("PANAMOE_ISA", "generic", 1);
    Context generic("threads=1");
    expect(std::strstr(pm_describe(generic), "isa=generic") != nullptr, "described as \"%s\"", pm_describe(generic));
    setenv("PANAMOE_ISA", "abacus", 1);
    Context unknown("threads=1"), overridden("isa=generic");
    expect(std::strstr(unknown.error(), "isa=abacus") != nullptr, "error is \"%s\"", unknown.error());
    expect(overridden.status == PM_OK, "error is \"%s\"", overridden.error());
    unsetenv("PANAMOE_ISA");
}

// What is no open context of this library is refused without being read.
void test_no_context() {
    float x = 1;
    auto refuses = [&](pm_context *ctx, const char *what) {
        expect(pm_add(ctx, &x, &x, PM_F32, 1, 1) == PM_FAILED && pm_synchronize(ctx) == PM_FAILED, "%s computes", what);
        expect(pm_error(ctx) != nullptr && std::strstr(pm_error(ctx), "not an open context") != nullptr,
               "%s: error is \"%s\"", what, pm_error(ctx));
        expect(pm_describe(ctx) != nullptr && pm_allocated(ctx) == 0, "%s describes", what);
        pm_close(ctx);
    };
    refuses(nullptr, "NULL");
    alignas(64) char other[1024] = "a context of another library";
    refuses(reinterpret_cast<pm_context *>(other), "a foreign context");
    pm_context *closed;
    expect(pm_open(&closed, "threads=2") == PM_OK, "open: %s", pm_error(closed));
    pm_close(closed);
    refuses(closed, "a closed context");
}

void test_memory() {
    Context context("threads=1"), other("threads=1");
    void *data = nullptr, *empty = nullptr, *foreign = nullptr;
    context.ok(pm_allocate(context, &data, 1000), "allocate");
    context.ok(pm_allocate(context, &empty, 0), "allocate nothing");
    expect(data != nullptr && empty != nullptr && data != empty, "addresses %p, %p", data, empty);
    expect(reinterpret_cast<uintptr_t>(data) % 64 == 0 && reinterpret_cast<uintptr_t>(empty) % 64 == 0, "not aligned");
    expect(pm_allocated(context) == 1000, "allocated %lld", static_cast<long long>(pm_allocated(context)));
    std::memset(data, 7, 1000);

    std::vector<char> from(1000, 5), to(1000);
    context.ok(pm_copy(context, data, from.data(), 1000), "copy");
    context.ok(pm_copy(context, to.data(), data, 1000), "copy back");
    context.ok(pm_copy(context, nullptr, nullptr, 0), "copy nothing");
    context.ok(pm_synchronize(context), "synchronize");
    expect(from == to, "copied something else");
    context.refused(pm_copy(context, to.data(), data, -1), "copy: -1 bytes");
    context.refused(pm_copy(context, nullptr, data, 1), "copy: to is NULL");

    context.refused(pm_allocate(context, &foreign, -1), "allocate: -1 bytes");
    context.refused(pm_allocate(context, nullptr, 1), "allocate: out is NULL");
    for (int64_t bytes : {INT64_MAX, INT64_MAX - 63, int64_t{1} << 50})
        context.refused(pm_allocate(context, &foreign, bytes),
                        (std::to_string(bytes) + " bytes: out of memory").c_str());
    expect(pm_allocated(context) == 1000, "a refused allocation counts");

    other.ok(pm_allocate(other, &foreign, 8), "allocate");
    context.refused(pm_free(context, foreign), "not memory of this context");
    context.refused(pm_free(context, nullptr), "not memory of this context");
    context.refused(pm_free(context, static_cast<char *>(data) + 64), "not memory of this context");
    context.ok(pm_free(context, data), "free");
    context.refused(pm_free(context, data), "not memory of this context");
    expect(pm_allocated(context) == 0, "allocated %lld", static_cast<long long>(pm_allocated(context)));
    // close frees the rest: the sanitizers would tell.
}

void test_measure() {
    Context context("threads=2");
    float bandwidth = 0, rate = 0, int8_rate = 0;
    context.ok(pm_measure(context, PM_READ_BANDWIDTH, &bandwidth), "measure");
    context.ok(pm_measure(context, PM_FMA_RATE, &rate), "measure");
    context.ok(pm_measure(context, PM_INT8_RATE, &int8_rate), "measure");
    // From a busy netbook under sanitizers to a large server.
    expect(bandwidth > 1e7f && bandwidth < 1e13f, "%g bytes per second", bandwidth);
    expect(rate > 1e7f && rate < 1e15f, "%g operations per second", rate);
    expect(int8_rate > 1e7f && int8_rate < 1e16f, "%g operations on bytes per second", int8_rate);
    context.refused(pm_measure(context, 3, &rate), "quantity is 3");
    context.refused(pm_measure(context, PM_FMA_RATE, nullptr), "result is NULL");
}

// Many short jobs, several contexts at once, more threads than cores: no call may lose a piece or hang.
void test_threads() {
    std::atomic<int> wrong = 0;
    auto work = [&](int threads) {
        Context context("threads=" + std::to_string(threads));
        std::vector<float> y(40000), one(40000, 1.0f);
        for (int i = 0; i < 500; i++)
            if (pm_add(context, y.data(), one.data(), PM_F32, 1, 40000) != PM_OK) wrong++;
        for (float each : y)
            if (each != 500) wrong++;
    };
    std::thread a(work, 2), b(work, 5), c(work, 1);
    a.join(), b.join(), c.join();
    expect(wrong == 0, "%d wrong", wrong.load());
    // One context, handed from thread to thread.
    Context context("threads=3");
    float total = 0, one = 1;
    for (int i = 0; i < 20; i++)
        std::thread([&] { context.ok(pm_add(context, &total, &one, PM_F32, 1, 1), "add"); }).join();
    expect(total == 20, "total is %g", total);
}

// One wrong argument at a time; after each the context goes on working.
void test_arguments() {
    Context c("threads=2");
    float x[64] = {}, y[64] = {}, w[64] = {}, scale[4] = {1, 1, 1, 1}, angle[8] = {};
    int32_t zeros[4] = {0, 0, 0, 0}, table[2] = {0, 1};
    int32_t f32 = PM_F32, bf16 = PM_W_BF16, f8 = PM_W_F8_E4M3_B128;

    c.refused(pm_rms_norm(c, y, x, 1, w, PM_W_F32, 1, 4, 0), "rms_norm: type is 1");
    c.refused(pm_rms_norm(c, y, x, f32, w, f8, 1, 4, 0), "rms_norm: format is 2");
    c.refused(pm_rms_norm(c, y, x, f32, w, 9, 1, 4, 0), "rms_norm: format is 9");
    c.refused(pm_rms_norm(c, y, x, f32, w, bf16, -1, 4, 0), "rms_norm: T is -1");
    c.refused(pm_rms_norm(c, y, x, f32, w, bf16, 1, 0, 0), "rms_norm: D is 0");
    c.refused(pm_rms_norm(c, y, nullptr, f32, w, bf16, 1, 4, 0), "rms_norm: x_TD is NULL");

    c.refused(pm_gemm(c, y, x, 7, w, nullptr, PM_W_F32, 1, 2, 2), "gemm: type is 7");
    c.refused(pm_gemm(c, y, x, f32, w, nullptr, -1, 1, 2, 2), "gemm: format is -1");
    c.refused(pm_gemm(c, y, x, f32, w, nullptr, f8, 1, 2, 2), "gemm: scale is NULL");
    c.refused(pm_gemm(c, y, x, f32, nullptr, nullptr, PM_W_F32, 1, 2, 2), "gemm: w_FD is NULL");
    c.refused(pm_gemm(c, nullptr, x, f32, w, nullptr, PM_W_F32, 1, 2, 2), "gemm: y_TF is NULL");
    c.refused(pm_gemm(c, y, x, f32, w, nullptr, PM_W_F32, 1, 2, -2), "gemm: F is -2");
    c.ok(pm_gemm(c, nullptr, nullptr, f32, nullptr, nullptr, f8, 0, 2, 2), "gemm of no rows");

    const void *w_E[2] = {w, nullptr}, *scale_E[2] = {scale, nullptr};
    auto grouped = [&](std::vector<int32_t> offset, int32_t N, int32_t format, const void *const *scales) {
        return pm_grouped_gemm(c, y, x, f32, w_E, scales, format, offset.data(), N, 2, 2, 2);
    };
    c.refused(grouped({1, 2, 2}, 2, PM_W_F32, nullptr), "grouped_gemm: offset_E1[0] is 1");
    c.refused(grouped({0, 2, 3}, 2, PM_W_F32, nullptr), "grouped_gemm: offset_E1[2] is 3, N is 2");
    c.refused(grouped({0, 3, 2}, 2, PM_W_F32, nullptr), "offset_E1[1] is 3");
    c.refused(grouped({0, -1, 2}, 2, PM_W_F32, nullptr), "offset_E1[1] is -1");
    c.refused(grouped({0, 1, 2}, 2, PM_W_F32, nullptr), "grouped_gemm: w_E[1] is NULL and has 1 rows");
    c.refused(grouped({0, 2, 2}, 2, f8, nullptr), "grouped_gemm: scale_E is NULL");
    w_E[1] = w;
    c.refused(grouped({0, 1, 2}, 2, f8, scale_E), "grouped_gemm: scale_E[1] is NULL and has 1 rows");
    c.ok(grouped({0, 2, 2}, 2, f8, scale_E), "grouped_gemm");
    c.ok(pm_grouped_gemm(c, nullptr, nullptr, f32, nullptr, nullptr, f8, nullptr, 0, 2, 2, 2),
         "grouped_gemm of no rows");

    // Each refusal leaves y as it is.
    const void *none_E[2] = {nullptr, nullptr}, *up_E[2] = {w, w}, *up_scale_E[2] = {scale, scale};
    auto swiglu = [&](std::vector<int32_t> offset, const int32_t *token, int32_t T, int32_t format = PM_W_F32,
                      const void *const *ups = nullptr, const void *const *up_scales = nullptr) {
        return pm_grouped_swiglu(c, y, x, f32, up_E, up_scale_E, ups, up_scales, format, offset.data(), token, 2, T, 2,
                                 2, 2);
    };
    std::fill(std::begin(y), std::end(y), 5.0f);
    int32_t chosen[2] = {1, 0}, far[2] = {0, 3};
    c.refused(swiglu({0, 1, 2}, chosen, 2), "grouped_swiglu: up_E is NULL");
    c.refused(swiglu({0, 1, 2}, chosen, 2, PM_W_F32, none_E), "grouped_swiglu: up_E[0] is NULL and has 1 rows");
    c.refused(swiglu({0, 1, 2}, chosen, 2, f8, up_E), "grouped_swiglu: up_scale_E is NULL, format 2 has scales");
    c.refused(swiglu({0, 1, 2}, chosen, 2, f8, up_E, none_E), "grouped_swiglu: up_scale_E[0] is NULL and has 1 rows");
    c.refused(swiglu({0, 1, 2}, chosen, 2, 9, up_E), "grouped_swiglu: format is 9");
    c.refused(swiglu({0, 3, 2}, chosen, 2, PM_W_F32, up_E), "grouped_swiglu: offset_E1[0] is 0, offset_E1[1] is 3");
    c.refused(swiglu({0, 1, 3}, chosen, 2, PM_W_F32, up_E), "grouped_swiglu: offset_E1[2] is 3, N is 2");
    c.refused(swiglu({0, 1, 2}, far, 3, PM_W_F32, up_E), "grouped_swiglu: token_N[1] is 3, T is 3");
    c.refused(swiglu({0, 1, 2}, nullptr, 3, PM_W_F32, up_E), "grouped_swiglu: token_N is NULL, N is 2, T is 3");
    auto combine = [&](std::vector<int32_t> offset, const int32_t *tokens, const float *weights, int32_t T,
                       const void *const *downs) {
        return pm_grouped_combine(c, y, x, f32, downs, nullptr, PM_W_F32, offset.data(), tokens, weights, 2, T, 2, 2,
                                  2);
    };
    c.refused(combine({0, 1, 2}, chosen, nullptr, 2, up_E), "grouped_combine: weight_N is NULL, token_N is not");
    c.refused(combine({0, 1, 2}, nullptr, scale, 2, up_E), "grouped_combine: token_N is NULL, weight_N is not");
    c.refused(combine({0, 1, 2}, nullptr, nullptr, 1, up_E), "grouped_combine: token_N is NULL, N is 2, T is 1");
    c.refused(combine({0, 1, 2}, far, scale, 2, up_E), "grouped_combine: token_N[1] is 3, T is 2");
    c.refused(combine({1, 1, 2}, chosen, scale, 2, up_E), "grouped_combine: offset_E1[0] is 1, must be 0");
    c.refused(combine({0, 1, 2}, chosen, scale, 2, none_E), "grouped_combine: w_E[0] is NULL and has 1 rows");
    c.refused(combine({0, 1, 2}, chosen, scale, 2, nullptr), "grouped_combine: w_E is NULL");
    expect(std::all_of(std::begin(y), std::end(y), [](float each) { return each == 5; }), "a refused call wrote");
    c.ok(swiglu({0, 1, 2}, chosen, 2, PM_W_F32, up_E), "grouped_swiglu");
    c.ok(combine({0, 2, 2}, chosen, scale, 2, up_E), "grouped_combine");
    c.ok(pm_grouped_swiglu(c, nullptr, nullptr, f32, nullptr, nullptr, nullptr, nullptr, f8, nullptr, nullptr, 0, 3, 2,
                           2, 2),
         "grouped_swiglu of no rows");
    c.ok(pm_grouped_combine(c, nullptr, nullptr, f32, nullptr, nullptr, f8, nullptr, nullptr, nullptr, 0, 3, 2, 2, 2),
         "grouped_combine of no rows");

    auto query = [&](std::vector<int32_t> position, int32_t R, int32_t S) {
        return pm_mla_query(c, y, x, f32, w, nullptr, PM_W_F32, position.data(), angle, angle,
                            static_cast<int32_t>(position.size()), 1, 2, 2, 2, R, S);
    };
    c.refused(query({0, 3}, 2, 3), "mla_query: position_T[1] is 3, S is 3");
    c.refused(query({-1}, 2, 3), "mla_query: position_T[0] is -1, S is 3");
    c.refused(query({0}, 3, 3), "mla_query: R is 3, must be even");
    c.refused(query({0}, 2, 0), "mla_query: S is 0");
    c.ok(query({0, 2}, 2, 3), "mla_query");

    // Two pages of two rows, C = R = 2; one request with a table of two.
    auto append = [&](int32_t request, int32_t position, int32_t S, const int32_t *pages) {
        return pm_latent_append(c, y, PM_CACHE_F32, x, f32, w, PM_W_F32, 0, pages, &request, &position, angle, angle, 1,
                                2, 2, 1, 2, 2, 2, S);
    };
    int32_t beyond[2] = {0, 2}, negative[2] = {0, -1};
    c.ok(append(0, 3, 4, table), "latent_append");
    c.refused(append(1, 3, 4, table), "latent_append: request_T[0] is 1, A is 1");
    c.refused(append(-1, 3, 4, table), "latent_append: request_T[0] is -1");
    c.refused(append(0, 4, 8, table), "latent_append: position_T[0] is 4, M * B is 4");
    c.refused(append(0, 3, 3, table), "latent_append: position_T[0] is 3, S is 3");
    c.refused(append(0, 3, 4, beyond), "latent_append: table_AM[0][1] is 2, page_count is 2");
    c.refused(append(0, 3, 4, negative), "latent_append: table_AM[0][1] is -1, page_count is 2");
    c.ok(append(0, 1, 4, negative), "latent_append before a page that is not there");

    auto attend = [&](std::vector<int32_t> request, std::vector<int32_t> position, const int32_t *pages,
                      int32_t cache) {
        return pm_mla_attention(c, x, w, f32, y, cache, pages, request.data(), position.data(), 1,
                                static_cast<int32_t>(request.size()), 1, 2, 2, 1, 2, 2, 2);
    };
    c.ok(attend({0, 0}, {3, 0}, table, PM_CACHE_F32), "mla_attention");
    c.refused(attend({0}, {3}, table, 1), "mla_attention: cache is 1");
    c.refused(attend({0, 0}, {0, 4}, table, PM_CACHE_F32), "mla_attention: position_T[1] is 4, M * B is 4");
    c.refused(attend({0, 1}, {0, 0}, table, PM_CACHE_F32), "mla_attention: request_T[1] is 1, A is 1");
    c.refused(attend({0, 0}, {0, 2}, beyond, PM_CACHE_F32), "mla_attention: table_AM[0][1] is 2, page_count is 2");
    c.ok(attend({0, 0}, {0, 1}, beyond, PM_CACHE_F32), "mla_attention before a page that is not there");

    // The same cache, expanded.
    auto expand = [&](std::vector<int32_t> request, std::vector<int32_t> position, const int32_t *pages, int32_t S,
                      int32_t U, int32_t format) {
        return pm_mla_expanded(c, x, w, f32, y, PM_CACHE_F32, scale, nullptr, format, pages, request.data(),
                               position.data(), angle, angle, 1, static_cast<int32_t>(request.size()), 1, 1, U, 2, 2, 1,
                               2, 2, 2, S);
    };
    c.ok(expand({0, 0}, {3, 0}, table, 4, 1, PM_W_F32), "mla_expanded");
    c.ok(expand({}, {}, nullptr, 4, 1, PM_W_F32), "mla_expanded of no rows");
    c.ok(expand({0, 0}, {0, 1}, beyond, 4, 1, PM_W_F32), "mla_expanded before a page that is not there");
    c.refused(expand({0, 0}, {0, 4}, table, 8, 1, PM_W_F32), "mla_expanded: position_T[1] is 4, M * B is 4");
    c.refused(expand({0}, {3}, table, 3, 1, PM_W_F32), "mla_expanded: position_T[0] is 3, S is 3");
    c.refused(expand({0, 1}, {0, 0}, table, 4, 1, PM_W_F32), "mla_expanded: request_T[1] is 1, A is 1");
    c.refused(expand({0, 0}, {0, 2}, beyond, 4, 1, PM_W_F32), "mla_expanded: table_AM[0][1] is 2, page_count is 2");
    c.refused(expand({0}, {0}, table, 4, 0, PM_W_F32), "mla_expanded: U is 0");
    c.refused(expand({0}, {0}, table, 4, 1, f8), "mla_expanded: scale is NULL");
    c.refused(expand({0}, {0}, nullptr, 4, 1, PM_W_F32), "mla_expanded: table_AM is NULL");
    c.refused(expand({0}, {0}, table, 4, 2147483647, PM_W_F32), "mla_expanded: ");

    c.refused(pm_mla_output(c, y, x, f32, w, nullptr, f8, 1, 1, 2, 2, 2), "mla_output: scale is NULL");
    c.refused(pm_mla_output(c, y, x, f32, w, nullptr, PM_W_F32, 1, 1, 0, 2, 2), "mla_output: P is 0");

    int32_t token[2] = {0, 70000};
    c.refused(pm_gather(c, y, x, f32, token, 2, 5, 2), "gather: token_N[1] is 70000, T is 5");
    c.refused(pm_combine(c, y, x, f32, token, scale, 2, 5, 2), "combine: token_N[1] is 70000, T is 5");
    c.refused(pm_embed(c, y, f32, w, nullptr, PM_W_F32, token, 2, 512, 2), "embed: token_T[1] is 70000, V is 512");
    c.refused(pm_embed(c, y, f32, w, nullptr, f8, zeros, 2, 512, 2), "embed: scale is NULL, format 2 has scales");
    c.refused(pm_swiglu(c, y, x, nullptr, f32, 1, 2), "swiglu: up_NF is NULL");
    c.refused(pm_add(c, nullptr, x, f32, 1, 2), "add: y_TD is NULL");
    c.refused(pm_argmax(c, zeros, x, f32, 1, 0), "argmax: V is 0");
    c.refused(pm_argmax(c, nullptr, x, f32, 1, 4), "argmax: index_T is NULL");
    c.ok(pm_add(c, y, x, f32, 1, 2), "add after all that");
}

}  // namespace

int main(int argc, char **argv) {
    return run(argc, argv,
               {{"options", test_options},
                {"environment", test_environment},
                {"no_context", test_no_context},
                {"memory", test_memory},
                {"measure", test_measure},
                {"threads", test_threads},
                {"arguments", test_arguments}});
}
