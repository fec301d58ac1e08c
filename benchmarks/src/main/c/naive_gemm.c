/* The product as its definition is read aloud. The baseline that everybody has. */
#include <stdint.h>

/* Columns from to to of y_TF = x_TD w_FD^T. */
__attribute__((visibility("default"))) void naive_gemm(float *y_TF, const float *x_TD, const float *w_FD, int64_t T,
                                                       int64_t D, int64_t F, int64_t from, int64_t to) {
    for (int64_t t = 0; t < T; t++)
        for (int64_t f = from; f < to; f++) {
            float sum = 0;
            for (int64_t d = 0; d < D; d++) sum += x_TD[t * D + d] * w_FD[f * D + d];
            y_TF[t * F + f] = sum;
        }
}
