// What is a device's own: its memory, indices that only kernels can check, errors that surface late, grids of many
// blocks. Runs on libpanamoe_cudaemu, and on libpanamoe_cuda where there is a device. KernelsTest.java compares the
// numbers.
#include <algorithm>

#include "check.hpp"

using namespace check;

namespace {

constexpr float kUntouched = -3;

std::vector<float> filled(size_t n, float value = kUntouched) { return std::vector<float>(n, value); }

std::vector<float> ascending(size_t n) {
    std::vector<float> x(n);
    for (size_t i = 0; i < n; i++) x[i] = static_cast<float>(i);
    return x;
}

bool emulated() { return std::strstr(pm_describe(Context("")), "backend=cudaemu") != nullptr; }

void test_options() {
    struct Case {
        const char *options, *error;
    };
    for (auto [options, error] : {Case{"threads=2", "unknown option \"threads\": there are device"},
                                  {"device", "\"device\" is not key=value"},
                                  {"device=-1", "device=-1, must be a number from 0 on"},
                                  {"device=one", "device=one"},
                                  {"device=4096", "device=4096, this machine has devices 0 to"},
                                  {"stream=0xseven", "stream=0xseven, must be the address of a stream"},
                                  {"stream=", "stream="}}) {
        Context context(options);
        expect(context.status == PM_FAILED && context.ctx != nullptr, "\"%s\" was accepted", options);
        expect(std::strstr(context.error(), error) != nullptr, "\"%s\": error is \"%s\", should contain \"%s\"",
               options, context.error(), error);
        void *data;
        expect(pm_allocate(context, &data, 8) == PM_FAILED, "a context that failed to open allocates");
    }
    // The default stream is one of the caller's, too.
    for (const char *options : {"", " device=0 ", "stream=0", "stream=0x0 device=0"}) {
        Context context(options);
        expect(context.status == PM_OK, "\"%s\": %s", options, context.error());
        Device<float> y(context, {1}), x(context, {2});
        context.ok(pm_add(context, y, x, PM_F32, 1, 1), "add");
        expect(y.host() == std::vector<float>{3}, "\"%s\": 1 + 2 is %g", options, y.host()[0]);
    }
    Context context("");
    expect(pm_memory(context) == PM_DEVICE && pm_abi() == PM_ABI, "memory or ABI");
    if (emulated()) {
        Context seeded("seed=7"), wrong("seed=x");
        expect(std::strcmp(pm_describe(context), "backend=cudaemu seed=1 math=exact") == 0, "described as \"%s\"",
               pm_describe(context));
        expect(std::strcmp(pm_describe(seeded), "backend=cudaemu seed=7 math=exact") == 0, "described as \"%s\"",
               pm_describe(seeded));
        expect(std::strstr(wrong.error(), "seed=x") != nullptr, "error is \"%s\"", wrong.error());
    } else {
        int device, sm, multiprocessors;
        char name[128];
        expect(std::sscanf(pm_describe(context), "backend=cuda device=%d name=%127s sm=%d sms=%d", &device, name, &sm,
                           &multiprocessors) == 4 &&
                   sm >= 80 && multiprocessors > 0,
               "described as \"%s\"", pm_describe(context));
    }
}

void test_no_context() {
    alignas(64) char other[1024] = "a context of another library";
    auto *foreign = reinterpret_cast<pm_context *>(other);
    expect(pm_synchronize(foreign) == PM_FAILED, "a foreign context computes");
    expect(std::strstr(pm_error(foreign), "not an open context of libpanamoe_cuda") != nullptr, "error is \"%s\"",
           pm_error(foreign));
    pm_close(foreign);
}

void test_memory() {
    Context context(""), other("");
    void *data = nullptr, *empty = nullptr, *foreign = nullptr;
    context.ok(pm_allocate(context, &data, 1000), "allocate");
    context.ok(pm_allocate(context, &empty, 0), "allocate nothing");
    expect(data != nullptr && empty != nullptr && data != empty, "addresses %p, %p", data, empty);
    expect(reinterpret_cast<uintptr_t>(data) % 64 == 0 && reinterpret_cast<uintptr_t>(empty) % 64 == 0, "not aligned");
    expect(pm_allocated(context) == 1000, "allocated %lld", static_cast<long long>(pm_allocated(context)));
    for (int64_t bytes : {INT64_MAX, int64_t{1} << 50}) {
        context.refused(pm_allocate(context, &foreign, bytes),
                        (std::to_string(bytes) + " bytes: out of memory: of the device's ").c_str());
        context.refused(pm_allocate(context, &foreign, bytes), " are free");
    }
    context.refused(pm_allocate(context, &foreign, -1), "allocate: -1 bytes");
    context.refused(pm_allocate(context, nullptr, 1), "allocate: out is NULL");
    other.ok(pm_allocate(other, &foreign, 8), "allocate");
    context.refused(pm_free(context, foreign), "not memory of this context");
    context.refused(pm_free(context, static_cast<char *>(data) + 64), "not memory of this context");

    // To the device, within it and back, whole and in parts.
    std::vector<float> x = ascending(1000);
    Device<float> a(context, x), b(context, filled(1000));
    context.ok(pm_copy(context, b + 10, a + 500, 300 * 4), "copy within the device");
    std::vector<float> expected = filled(1000);
    std::copy_n(x.begin() + 500, 300, expected.begin() + 10);
    expect(b.host() == expected, "copied something else");
    std::vector<float> part(3);
    context.ok(pm_copy(context, part.data(), a + 7, 12), "copy to the host");
    expect(part == std::vector<float>{7, 8, 9}, "copied something else");
    context.ok(pm_copy(context, nullptr, nullptr, 0), "copy nothing");
    context.refused(pm_copy(context, part.data(), a, -1), "copy: -1 bytes");
    context.refused(pm_copy(context, nullptr, a, 1), "copy: to is NULL");
    // What was copied from the host may be freed at once.
    auto *freed = new std::vector<float>(x);
    context.ok(pm_copy(context, b, freed->data(), 4000), "copy to the device");
    std::fill(freed->begin(), freed->end(), kUntouched);
    delete freed;
    expect(b.host() == x, "a copy was not done when it returned");
    context.ok(pm_free(context, data), "free");
    context.refused(pm_free(context, data), "not memory of this context");
    // close frees the rest
}

// Each index that a kernel follows, wrong once: the text is the CPU's, the row stays as it is, other rows are computed,
// and the context goes on.
void test_bad_indices() {
    Context c("");
    auto says = [&](const char *text, int32_t enqueued) {
        c.ok(enqueued, text);
        c.refused(pm_synchronize(c), text);
        c.ok(pm_synchronize(c), "synchronize once more");
    };
    std::vector<float> x(64);
    for (size_t i = 0; i < x.size(); i++) x[i] = static_cast<float>(i + 1);
    Device<float> x_TD(c, x), w(c, x), one(c, filled(64, 1));
    auto same = [&](const std::string &error, const char *text) {
        expect(error == text, "error is \"%s\", should be \"%s\"", error.c_str(), text);
    };
    using Ints = std::vector<int32_t>;
    auto expect_rows = [&](const Device<float> &y, std::vector<float> expected, const char *what) {
        std::vector<float> host = y.host();
        host.resize(expected.size());
        expect(host == expected, "%s: computed something else", what);
    };

    {
        Device<float> y(c, filled(64));
        Device<int32_t> token(c, Ints{1, 70000, 0});
        says("gather: token_N[1] is 70000, T is 5", pm_gather(c, y, x_TD, PM_F32, token, 3, 5, 2));
        expect_rows(y, {3, 4, kUntouched, kUntouched, 1, 2, kUntouched}, "gather");
        says("gather: token_N[0] is 1, T is 0", pm_gather(c, y, x_TD, PM_F32, token, 1, 0, 2));
    }
    {
        Device<float> y(c, filled(64));
        Device<int32_t> token(c, Ints{1, -1, 1});
        says("combine: token_N[1] is -1, T is 5", pm_combine(c, y, x_TD, PM_F32, token, one, 3, 5, 2));
        expect_rows(y, {kUntouched, kUntouched, kUntouched + 1 + 5, kUntouched + 2 + 6, kUntouched}, "combine");
        says("combine: token_N[", pm_combine(c, y, x_TD, PM_F32, token, one, 3, 0, 2));
    }
    {
        Device<float> y(c, filled(64));
        Device<int32_t> token(c, Ints{7, 3});
        says("embed: token_T[0] is 7, V is 7", pm_embed(c, y, PM_F32, w, nullptr, PM_W_F32, token, 2, 7, 2));
        expect_rows(y, {kUntouched, kUntouched, 7, 8, kUntouched}, "embed");
    }
    {
        Device<const void *> w_E(c, {w, nullptr}), scale_E(c, {one, nullptr});
        Device<float> y(c, filled(64));
        auto grouped = [&](const Ints &offset, int32_t format) {
            Device<int32_t> offset_E1(c, offset);
            return pm_grouped_gemm(c, y, x_TD, PM_F32, w_E, scale_E, format, offset_E1, 2, 2, 2, 2);
        };
        says("grouped_gemm: offset_E1[0] is 1, must be 0", grouped({1, 2, 2}, PM_W_F32));
        says("grouped_gemm: offset_E1[2] is 3, N is 2", grouped({0, 2, 3}, PM_W_F32));
        says("offset_E1[1] is 3, N is 2", grouped({0, 3, 2}, PM_W_F32));
        says("offset_E1[1] is -1, N is 2", grouped({0, -1, 2}, PM_W_F32));
        expect_rows(y, filled(64), "grouped_gemm");
        says("grouped_gemm: w_E[1] is NULL and has 1 rows", grouped({0, 1, 2}, PM_W_F32));
        // Row 0 has an expert: [1 2; 3 4] (1, 2).
        expect_rows(y, {5, 11, kUntouched}, "grouped_gemm");
        Device<const void *> both_E(c, {w, w});
        Device<int32_t> offset_E1(c, Ints{0, 1, 2});
        says("grouped_gemm: scale_E[1] is NULL and has 1 rows",
             pm_grouped_gemm(c, y, x_TD, PM_F32, both_E, scale_E, PM_W_F8_E4M3_B128, offset_E1, 2, 2, 2, 2));
        c.ok(grouped({0, 2, 2}, PM_W_F8_E4M3_B128), "grouped_gemm: experts without rows are not read");
        c.ok(pm_synchronize(c), "grouped_gemm: experts without rows are not read");
    }
    {
        Device<const void *> w_E(c, {w, w});
        Device<float> y(c, filled(64));
        Device<int32_t> offset_E1(c, Ints{0, 1, 2}), token(c, Ints{0, 5});
        says("gather: token_N[1] is 5, T is 5", pm_grouped_swiglu(c, y, x_TD, PM_F32, w_E, nullptr, w_E, nullptr,
                                                                  PM_W_F32, offset_E1, token, 2, 5, 2, 2, 2));
        says("combine: token_N[1] is 5, T is 5",
             pm_grouped_combine(c, y, x_TD, PM_F32, w_E, nullptr, PM_W_F32, offset_E1, token, one, 2, 5, 2, 2, 2));
    }
    {
        // H = 1, P = U = C = R = 2, S = 3.
        Device<float> q(c, filled(64));
        Device<int32_t> position(c, Ints{3, 0, -1});
        c.ok(pm_mla_query(c, q, x_TD, PM_F32, w, nullptr, PM_W_F32, position, one, one, 3, 1, 2, 2, 2, 2, 3), "query");
        c.refused(pm_synchronize(c), "mla_query: position_T[");
        c.refused(pm_mla_query(c, q, x_TD, PM_F32, w, nullptr, PM_W_F32, position, one, one, 3, 1, 2, 2, 2, 3, 3),
                  "mla_query: R is 3, must be even");
        // Row 1 is (5, 6, 7, 8): 5 (1, 2) + 6 (3, 4), then 7 - 8 and 7 + 8.
        expect_rows(q, {kUntouched, kUntouched, kUntouched, kUntouched, 23, 34, -1, 15, kUntouched}, "mla_query");
    }
    {
        // Two pages of two rows, C = R = 2; one request with a table of two.
        auto append = [&](const Ints &request, const Ints &position, int32_t S, const Ints &table) {
            Device<float> pages(c, filled(16));
            Device<int32_t> request_T(c, request), position_T(c, position), table_AM(c, table);
            int32_t status =
                pm_latent_append(c, pages, PM_CACHE_F32, x_TD, PM_F32, w, PM_W_F32, 0, table_AM, request_T, position_T,
                                 one, one, static_cast<int32_t>(request.size()), 2, 2, 1, 2, 2, 2, S);
            std::string error = pm_synchronize(c) == PM_OK ? "" : pm_error(c);
            expect(status == PM_OK, "latent_append: %s", c.error());
            std::vector<float> host = pages.host();
            // Row 0 of the call is good in all these calls, and stands at position 1 of page 0.
            expect(host[4] != kUntouched && host[7] != kUntouched, "latent_append: a good row was left out");
            int64_t written = 0;
            for (float each : host) written += each != kUntouched;
            expect(written == 4, "latent_append: %lld values were written", static_cast<long long>(written));
            return error;
        };
        same(append({0}, {1}, 4, {0, 1}), "");
        same(append({0, 1}, {1, 3}, 4, {0, 1}), "latent_append: request_T[1] is 1, A is 1");
        same(append({0, -1}, {1, 3}, 4, {0, 1}), "latent_append: request_T[1] is -1, A is 1");
        same(append({0, 0}, {1, 4}, 8, {0, 1}), "latent_append: position_T[1] is 4, M * B is 4");
        same(append({0, 0}, {1, 3}, 3, {0, 1}), "latent_append: position_T[1] is 3, S is 3");
        same(append({0, 0}, {1, 3}, 4, {0, 2}), "latent_append: table_AM[0][1] is 2, page_count is 2");
        same(append({0, 0}, {1, 3}, 4, {0, -1}), "latent_append: table_AM[0][1] is -1, page_count is 2");
    }
    {
        // The same cache; two heads.
        Device<float> pages(c, x);
        auto attend = [&](const Ints &request, const Ints &position, const Ints &table) {
            Device<float> o(c, filled(64));
            Device<int32_t> request_T(c, request), position_T(c, position), table_AM(c, table);
            c.ok(pm_mla_attention(c, o, one, PM_F32, pages, PM_CACHE_F32, table_AM, request_T, position_T, 1,
                                  static_cast<int32_t>(request.size()), 2, 2, 2, 1, 2, 2, 2),
                 "mla_attention");
            std::string error = pm_synchronize(c) == PM_OK ? "" : pm_error(c);
            // Row 0 of the call looks at position 0 only; the others are bad.
            std::vector<float> expected = filled(64);
            expected[0] = expected[2] = x[0], expected[1] = expected[3] = x[1];
            expect(o.host() == expected, "mla_attention: computed something else");
            return error;
        };
        same(attend({0}, {0}, {0, 1}), "");
        same(attend({0, 1}, {0, 0}, {0, 1}), "mla_attention: request_T[1] is 1, A is 1");
        same(attend({0, 0}, {0, 4}, {0, 1}), "mla_attention: position_T[1] is 4, M * B is 4");
        same(attend({0, 0}, {0, -1}, {0, 1}), "mla_attention: position_T[1] is -1, M * B is 4");
        same(attend({0, 0}, {0, 2}, {0, 2}), "mla_attention: table_AM[0][1] is 2, page_count is 2");
        same(attend({0}, {0}, {0, 2}), "");  // a page that no row reaches
    }
    // A copy to the host reports, a copy to the device does not; contexts know only of their own.
    Context other("");
    Device<float> y(c, filled(2));
    Device<int32_t> token(c, Ints{9});
    c.ok(pm_gather(c, y, x_TD, PM_F32, token, 1, 5, 2), "gather");
    other.ok(pm_synchronize(other), "synchronize another context");
    c.ok(pm_copy(c, y, x.data(), 4), "copy to the device");
    float host;
    c.refused(pm_copy(c, &host, y, 4), "gather: token_N[0] is 9, T is 5");
    c.ok(pm_copy(c, &host, y, 4), "copy once more");
    expect(host == 1, "%g", host);
}

// What the host can see is refused at the call, and nothing is enqueued.
void test_arguments() {
    Context c("");
    Device<float> x(c, filled(64)), y(c, filled(64)), w(c, filled(64));
    Device<int32_t> index(c, std::vector<int32_t>(8));
    float *x1 = reinterpret_cast<float *>(reinterpret_cast<char *>(static_cast<float *>(x)) + 1);
    auto *index2 = reinterpret_cast<int32_t *>(reinterpret_cast<char *>(static_cast<int32_t *>(index)) + 2);
    int32_t f32 = PM_F32, f8 = PM_W_F8_E4M3_B128;
    c.refused(pm_add(c, y, x1, f32, 1, 2), "add: x_TD is at 0x");
    c.refused(pm_add(c, y, x1, f32, 1, 2), "which is no multiple of 4");
    c.refused(pm_gather(c, y, x, f32, index2, 1, 1, 2), "gather: token_N is at 0x");
    c.refused(pm_argmax(c, index2, x, f32, 1, 2), "argmax: index_T is at 0x");
    c.refused(pm_gemm(c, x1, x, f32, w, nullptr, PM_W_F32, 1, 2, 2), "gemm: y_TF is at 0x");
    c.ok(pm_gemm(c, y, x, f32, reinterpret_cast<char *>(static_cast<float *>(w)) + 1, nullptr, PM_W_F32, 1, 2, 2),
         "gemm with weights at an odd address");
    c.refused(pm_gemm(c, y, x, 7, w, nullptr, PM_W_F32, 1, 2, 2), "gemm: type is 7, the CUDA back end has 0 (F32)");
    c.refused(pm_gemm(c, y, x, f32, w, nullptr, 9, 1, 2, 2), "gemm: format is 9, the CUDA back end has no such weight");
    c.refused(pm_gemm(c, y, x, f32, w, nullptr, f8, 1, 2, 2), "gemm: scale is NULL, format 2 has scales");
    c.refused(pm_gemm(c, y, x, f32, w, nullptr, PM_W_F32, 1, 2, 0), "gemm: F is 0, must be at least 1");
    c.refused(pm_rms_norm(c, y, x, f32, w, f8, 1, 4, 0), "rms_norm: format is 2, must be 0 (F32) or 1 (BF16)");
    c.refused(pm_swiglu(c, y, x, nullptr, f32, 1, 2), "swiglu: up_NF is NULL");
    c.refused(pm_mla_attention(c, y, x, f32, w, 2, index, index, index, 1, 1, 1, 2, 2, 1, 1, 1, 1),
              "mla_attention: cache is 2, the CUDA back end has 0 (F32) and 1 (BF16)");
    c.refused(pm_mla_expanded(c, y, x, f32, w, 0, w, nullptr, f8, index, index, index, x, x, 1, 1, 1, 2, 2, 2, 2, 1, 1,
                              1, 1, 1),
              "mla_expanded: scale is NULL, format 2 has scales");
    c.refused(pm_mla_expanded(c, y, x, f32, w, 0, w, nullptr, 0, index, index, index, x1, x, 1, 1, 1, 2, 2, 2, 2, 1, 1,
                              1, 1, 1),
              "mla_expanded: cos_SZ is at 0x");
    // No rows: nothing is read, not even the pointers.
    c.ok(pm_mla_expanded(c, nullptr, nullptr, f32, nullptr, 0, nullptr, nullptr, f8, nullptr, nullptr, nullptr, nullptr,
                         nullptr, 1, 0, 1, 2, 2, 2, 2, 1, 1, 1, 1, 1),
         "mla_expanded of no rows");
    c.ok(pm_rms_norm(c, nullptr, nullptr, f32, nullptr, PM_W_F32, 0, 4, 0), "rms_norm of no rows");
    c.ok(pm_gemm(c, nullptr, nullptr, f32, nullptr, nullptr, f8, 0, 2, 2), "gemm of no rows");
    c.ok(pm_grouped_gemm(c, nullptr, nullptr, f32, nullptr, nullptr, f8, nullptr, 0, 2, 2, 2), "grouped_gemm");
    c.ok(pm_grouped_swiglu(c, nullptr, nullptr, f32, nullptr, nullptr, nullptr, nullptr, f8, nullptr, nullptr, 0, 3, 2,
                           2, 2),
         "grouped_swiglu of no rows");
    c.ok(pm_grouped_combine(c, nullptr, nullptr, f32, nullptr, nullptr, f8, nullptr, nullptr, nullptr, 0, 3, 2, 2, 2),
         "grouped_combine of no rows");
    Device<const void *> w_E(c, std::vector<const void *>{w, w});
    c.refused(pm_grouped_swiglu(c, y, x, f32, w_E, nullptr, nullptr, nullptr, PM_W_F32, index, nullptr, 2, 2, 2, 2, 2),
              "grouped_swiglu: up_E is NULL");
    c.refused(pm_grouped_swiglu(c, y, x, f32, w_E, nullptr, w_E, nullptr, f8, index, nullptr, 2, 2, 2, 2, 2),
              "grouped_swiglu: gate_scale_E is NULL, format 2 has scales");
    c.refused(pm_grouped_swiglu(c, y, x, f32, w_E, nullptr, w_E, nullptr, PM_W_F32, index, nullptr, 2, 3, 2, 2, 2),
              "grouped_swiglu: token_N is NULL, N is 2, T is 3");
    c.refused(pm_grouped_swiglu(c, y, x, f32, w_E, nullptr, w_E, nullptr, PM_W_F32, index, index2, 2, 3, 2, 2, 2),
              "grouped_swiglu: token_N is at 0x");
    c.refused(pm_grouped_combine(c, y, x, f32, w_E, nullptr, PM_W_F32, index, index, nullptr, 2, 2, 2, 2, 2),
              "grouped_combine: weight_N is NULL, token_N is not");
    c.ok(pm_gather(c, nullptr, nullptr, f32, nullptr, 0, 0, 2), "gather of no rows");
    c.ok(pm_combine(c, nullptr, nullptr, f32, nullptr, nullptr, 0, 3, 2), "combine of no rows");
    c.ok(pm_add(c, nullptr, nullptr, f32, 0, 2), "add of no rows");
    c.ok(pm_synchronize(c), "synchronize after all that");
}

// More rows than a grid has blocks: each block takes several.
void test_many_blocks() {
    Context c("");
    constexpr int32_t T = 17000, D = 2;
    auto rows = static_cast<size_t>(T);
    std::vector<float> x = ascending(rows * D);
    std::vector<int32_t> backwards(rows);
    for (int32_t t = 0; t < T; t++) backwards[static_cast<size_t>(t)] = T - 1 - t;
    Device<float> x_TD(c, x), y(c, filled(rows * D)), one(c, filled(rows * D, 1));
    Device<int32_t> token(c, backwards), index(c, std::vector<int32_t>(rows)), zeros(c, std::vector<int32_t>(rows));

    c.ok(pm_gather(c, y, x_TD, PM_F32, token, T, T, D), "gather");
    std::vector<float> reversed = y.host();
    for (size_t t = 0; t < rows; t++)
        expect(reversed[D * t] == x[D * (rows - 1 - t)] && reversed[D * t + 1] == x[D * (rows - 1 - t) + 1],
               "gather: row %zu", t);
    c.ok(pm_embed(c, y, PM_F32, x_TD, nullptr, PM_W_F32, token, T, T, D), "embed");
    expect(y.host() == reversed, "embed");
    // Rows of more than a warp, here and below, so that what a block's warps tell each other follows row by row.
    constexpr int32_t V = 300;
    std::vector<int32_t> largest(rows);
    std::vector<float> logits = filled(rows * V);
    for (size_t t = 0; t < rows; t++) {
        largest[t] = static_cast<int32_t>(t * 7 % V);
        logits[t * V + static_cast<size_t>(largest[t])] = static_cast<float>(t);
    }
    Device<float> logits_TV(c, logits);
    c.ok(pm_argmax(c, index, logits_TV, PM_F32, T, V), "argmax");
    expect(index.host() == largest, "argmax");
    // x / sqrt(x * x) has three roundings.
    constexpr int32_t kLong = 40;
    std::vector<float> long_rows;
    for (size_t t = 0; t < rows; t++) long_rows.insert(long_rows.end(), kLong, -1 - static_cast<float>(t));
    Device<float> long_x(c, long_rows), long_y(c, filled(rows * kLong));
    c.ok(pm_rms_norm(c, long_y, long_x, PM_F32, one, PM_W_F32, T, kLong, 0), "rms_norm");
    for (float each : long_y.host()) expect(std::fabs(each + 1) <= 0x1p-22, "rms_norm: -1 is %.9g", each);
    // One head, one position.
    c.ok(pm_mla_attention(c, y, x_TD, PM_F32, x_TD, PM_CACHE_F32, zeros, zeros, zeros, 1, T, 1, 1, 1, 1, 1, 1, 1),
         "mla_attention");
    std::vector<float> values = y.host();
    for (size_t t = 0; t < rows; t++) expect(values[t] == x[0], "mla_attention: row %zu is %g", t, values[t]);
}

// Many experts of which few have rows, more rows than a tile, tiles of every length: the bits of gemm.
void test_many_experts() {
    Context c("");
    Random random(20261124);
    constexpr int32_t E = 256, D = 150, F = 37;
    std::vector<int32_t> offset = {0};
    for (int32_t e = 0; e < E; e++) offset.push_back(offset.back() + (e % 10 == 3 ? random.below(20) : 0));
    int32_t N = offset.back();
    for (int32_t format : {PM_W_F32, PM_W_BF16, PM_W_F8_E4M3_B128}) {
        Weight w(format, F, D, random);
        // All experts have one weight, scaled differently where the format has scales.
        Device<uint8_t> stored(c, w.stored), scales(c, w.scales.empty() ? std::vector<uint8_t>(1) : w.scales);
        Device<const void *> w_E(c, std::vector<const void *>(E, stored + 1)),
            scale_E(c, std::vector<const void *>(E, scales + 1));
        Device<int32_t> offset_E1(c, offset);
        Device<float> x(c, random.normals(int64_t{N} * D)), y(c, filled(static_cast<size_t>(N * F))),
            expected(c, filled(static_cast<size_t>(N * F)));
        c.ok(pm_grouped_gemm(c, y, x, PM_F32, w_E, scale_E, format, offset_E1, N, D, F, E), "grouped_gemm");
        c.ok(pm_gemm(c, expected, x, PM_F32, stored + 1, scales + 1, format, N, D, F), "gemm");
        expect_same_bits(expected.host(), y.host(), std::string("grouped_gemm ") + format_name(format));
    }
}

void test_measure() {
    Context context("");
    float bandwidth = 0, rate = 0;
    context.ok(pm_measure(context, PM_READ_BANDWIDTH, &bandwidth), "measure");
    context.ok(pm_measure(context, PM_FMA_RATE, &rate), "measure");
    expect(bandwidth > 1e7f && bandwidth < 2e13f, "%g bytes per second", bandwidth);
    expect(rate > 1e6f && rate < 1e15f, "%g operations per second", rate);
    context.ok(pm_measure(context, PM_INT8_RATE, &rate), "measure");
    expect(rate == 0, "no products of int8, but %g of them per second", rate);
    context.refused(pm_measure(context, 3, &rate), "measure: quantity is 3, there are 0 to 2");
    context.refused(pm_measure(context, PM_FMA_RATE, nullptr), "measure: result is NULL");
    expect(pm_allocated(context) == 0, "measuring leaves memory allocated");
}

}  // namespace

int main(int argc, char **argv) {
    pm_context *ctx;
    if (pm_open(&ctx, "") != PM_OK) {
        std::printf("skipped: %s\n", pm_error(ctx));
        pm_close(ctx);
        return 77;
    }
    pm_close(ctx);
    return run(argc, argv,
               {{"options", test_options},
                {"no_context", test_no_context},
                {"memory", test_memory},
                {"bad_indices", test_bad_indices},
                {"arguments", test_arguments},
                {"many_blocks", test_many_blocks},
                {"many_experts", test_many_experts},
                {"measure", test_measure}});
}
