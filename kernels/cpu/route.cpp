#include "route.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace panamoe {
namespace {

constexpr float kLeast = -std::numeric_limits<float>::infinity();

float number(float value) { return std::isnan(value) ? kLeast : value; }

// The index of the largest value that is not taken, the lowest among equals.
int64_t best_of(const float *value, const unsigned char *taken, int64_t n) {
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++)
        if (!taken[i] && (best < 0 || value[i] > value[best])) best = i;
    return best;
}

float worth(const float *biased, int64_t n, int64_t best) {
    float first = kLeast, second = kLeast;
    for (int64_t e = 0; e < n; e++) {
        second = std::max(second, std::min(first, biased[e]));
        first = std::max(first, biased[e]);
    }
    return best == 1 ? first : number(first + second);
}

// Takes the experts of all groups but the best ones.
void close_groups(const Route &r, const float *biased, unsigned char *taken, unsigned char *open) {
    int64_t size = r.E / r.G;
    std::fill_n(open, r.G, static_cast<unsigned char>(0));
    for (int64_t kept = 0; kept < r.kept; kept++) {
        int64_t most = -1;
        float most_worth = kLeast;
        for (int64_t g = 0; g < r.G; g++) {
            if (open[g]) continue;
            float here = worth(biased + g * size, size, r.best);
            if (most < 0 || here > most_worth) {
                most = g;
                most_worth = here;
            }
        }
        open[most] = 1;
    }
    for (int64_t g = 0; g < r.G; g++)
        if (!open[g]) std::fill_n(taken + g * size, size, static_cast<unsigned char>(1));
}

}  // namespace

void sigmoid(float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = static_cast<float>(1 / (1 + std::exp(-static_cast<double>(y[i]))));
}

void softmax(float *y, int64_t n) {
    double most = kLeast, sum = 0;
    for (int64_t i = 0; i < n; i++) most = y[i] > most || std::isnan(y[i]) ? y[i] : most;
    for (int64_t i = 0; i < n; i++) sum += std::exp(y[i] - most);
    for (int64_t i = 0; i < n; i++) y[i] = static_cast<float>(std::exp(y[i] - most) / sum);
}

void choose(const Route &r, const float *score, int32_t *expert, float *share, float *biased, unsigned char *taken) {
    for (int64_t e = 0; e < r.E; e++) biased[e] = number(score[e] + (r.bias == nullptr ? 0.0f : r.bias[e]));
    std::fill_n(taken, r.E, static_cast<unsigned char>(0));
    if (r.kept < r.G) close_groups(r, biased, taken, taken + r.E);
    float sum = 0.0f;
    for (int64_t k = 0; k < r.K; k++) {
        int64_t best = best_of(biased, taken, r.E);
        taken[best] = 1;
        expert[k] = static_cast<int32_t>(best);
        sum += score[best];
    }
    float norm = r.normalize ? sum + 1e-20f : 1.0f;
    for (int64_t k = 0; k < r.K; k++) share[k] = score[expert[k]] / norm * r.factor;
}

}  // namespace panamoe
