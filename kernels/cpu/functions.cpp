// The functions of panamoe.h that compute, but for those in products.cpp, experts.cpp and attention.cpp: what is
// refused, how the work is cut, which kernel does it.
#include <algorithm>
#include <vector>

#include "arguments.hpp"
#include "cutting.hpp"
#include "route.hpp"

using namespace panamoe;

int32_t pm_rms_norm(pm_context *ctx, void *y_TD, const void *x_TD, int32_t type, const void *w_D, int32_t format,
                    int32_t T, int32_t D, float eps) {
    return guarded(ctx, [&] {
        const char *operation = "rms_norm";
        require_sizes(operation, {{"T", T, 0}, {"D", D}});
        require_type(operation, type);
        require_vector_format(ctx, operation, format);
        if (T == 0) return;
        require_pointers(operation, {{"y_TD", y_TD}, {"x_TD", x_TD}, {"w_D", w_D}});
        RmsNorm norm{floats(y_TD), floats(x_TD), matrix(w_D, nullptr, D, format), eps};
        each_rows(ctx, T, D, [&](int64_t from, int64_t to, void *) { ctx->isa->rms_norm(norm, from, to); });
    });
}

int32_t pm_score(pm_context *ctx, void *score_TE, int32_t type, int32_t scoring, int32_t T, int32_t E) {
    return guarded(ctx, [&] {
        const char *operation = "score";
        require_sizes(operation, {{"T", T, 0}, {"E", E}});
        require_type(operation, type);
        require_scoring(operation, scoring);
        if (T == 0) return;
        require_pointers(operation, {{"score_TE", score_TE}});
        each_rows(ctx, T, E, [&](int64_t from, int64_t to, void *) {
            if (scoring == PM_SIGMOID)
                sigmoid(floats(score_TE) + from * E, (to - from) * E);
            else
                for (int64_t t = from; t < to; t++) softmax(floats(score_TE) + t * E, E);
        });
    });
}

int32_t pm_route(pm_context *ctx, int32_t *expert_TK, float *share_TK, int32_t *offset_E1, int32_t *token_N,
                 float *weight_N, const void *score_TE, int32_t type, const float *bias_E, int32_t T, int32_t E,
                 int32_t K, int32_t G, int32_t kept, int32_t best, int32_t normalize, float factor) {
    return guarded(ctx, [&] {
        const char *operation = "route";
        require_route(operation, T, E, K, G, kept, best);
        require_type(operation, type);
        require_pointers(operation, {{"offset_E1", offset_E1}});
        if (T == 0) {
            std::fill_n(offset_E1, E + int64_t{1}, 0);
            return;
        }
        require_pointers(operation, {{"expert_TK", expert_TK},
                                     {"share_TK", share_TK},
                                     {"token_N", token_N},
                                     {"weight_N", weight_N},
                                     {"score_TE", score_TE}});
        Route route{bias_E, E, K, G, kept, best, normalize != 0, factor};
        std::vector<float> biased(static_cast<size_t>(E));
        std::vector<unsigned char> taken(static_cast<size_t>(int64_t{E} + G));
        std::vector<int32_t> next(static_cast<size_t>(E), 0);
        for (int64_t t = 0; t < T; t++) {
            choose(route, floats(score_TE) + t * E, expert_TK + t * K, share_TK + t * K, biased.data(), taken.data());
            for (int64_t k = 0; k < K; k++) next[static_cast<size_t>(expert_TK[t * K + k])]++;
        }
        int32_t offset = 0;
        for (int64_t e = 0; e < E; e++) {
            offset_E1[e] = offset;
            offset += next[static_cast<size_t>(e)];
            next[static_cast<size_t>(e)] = offset_E1[e];
        }
        offset_E1[E] = offset;
        for (int64_t i = 0; i < int64_t{T} * K; i++) {
            int32_t n = next[static_cast<size_t>(expert_TK[i])]++;
            token_N[n] = static_cast<int32_t>(i / K);
            weight_N[n] = share_TK[i];
        }
    });
}

int32_t pm_swiglu(pm_context *ctx, void *y_NF, const void *gate_NF, const void *up_NF, int32_t type, int32_t N,
                  int32_t F) {
    return guarded(ctx, [&] {
        const char *operation = "swiglu";
        require_sizes(operation, {{"N", N, 0}, {"F", F}});
        require_type(operation, type);
        if (N == 0) return;
        require_pointers(operation, {{"y_NF", y_NF}, {"gate_NF", gate_NF}, {"up_NF", up_NF}});
        each_range(ctx, int64_t{N} * F, kElements, [&](int64_t from, int64_t to, void *) {
            ctx->isa->swiglu(floats(y_NF) + from, floats(gate_NF) + from, floats(up_NF) + from, to - from);
        });
    });
}

int32_t pm_add(pm_context *ctx, void *y_TD, const void *x_TD, int32_t type, int32_t T, int32_t D) {
    return guarded(ctx, [&] {
        const char *operation = "add";
        require_sizes(operation, {{"T", T, 0}, {"D", D}});
        require_type(operation, type);
        if (T == 0) return;
        require_pointers(operation, {{"y_TD", y_TD}, {"x_TD", x_TD}});
        each_range(ctx, int64_t{T} * D, kElements, [&](int64_t from, int64_t to, void *) {
            ctx->isa->add(floats(y_TD) + from, floats(x_TD) + from, to - from);
        });
    });
}

int32_t pm_embed(pm_context *ctx, void *y_TD, int32_t type, const void *w_VD, const void *scale, int32_t format,
                 const int32_t *token_T, int32_t T, int32_t V, int32_t D) {
    return guarded(ctx, [&] {
        const char *operation = "embed";
        require_sizes(operation, {{"T", T, 0}, {"V", V}, {"D", D}});
        require_type(operation, type);
        FormatSize size = require_format(ctx, operation, format);
        if (T == 0) return;
        require_pointers(operation, {{"y_TD", y_TD}, {"w_VD", w_VD}, {"token_T", token_T}});
        require_scale(operation, "scale", scale, format, size);
        require_indices(operation, "token_T", token_T, T, "V", V);
        Matrix w = matrix(w_VD, scale, D, format);
        each_rows(ctx, T, D, [&](int64_t from, int64_t to, void *) {
            for (int64_t t = from; t < to; t++) ctx->isa->embed(floats(y_TD) + t * D, w, token_T[t]);
        });
    });
}

int32_t pm_argmax(pm_context *ctx, int32_t *index_T, const void *x_TV, int32_t type, int32_t T, int32_t V) {
    return guarded(ctx, [&] {
        const char *operation = "argmax";
        require_sizes(operation, {{"T", T, 0}, {"V", V}});
        require_type(operation, type);
        if (T == 0) return;
        require_pointers(operation, {{"index_T", index_T}, {"x_TV", x_TV}});
        each_rows(ctx, T, V, [&](int64_t from, int64_t to, void *) {
            for (int64_t t = from; t < to; t++) index_T[t] = ctx->isa->argmax(floats(x_TV) + t * V, V);
        });
    });
}
