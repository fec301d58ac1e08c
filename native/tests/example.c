/* DeepSeekMoE's expert step from C: four rows, routed to two of three experts, through weights stored as FP8.
 *
 *   cc example.c $(pkg-config --cflags --libs panamoe) -o example && ./example
 */
#include <panamoe.h>
#include <stdio.h>

enum { D = 2, F = 2, E = 3, N = 4 };

int main(void) {
    /* Codes of e4m3: 0x38 is 1, 0x40 is 2, 0xb8 is -1. One scale for each block of 128 x 128. */
    const unsigned char identity[F * D] = {0x38, 0, 0, 0x38}, swap[F * D] = {0, 0x40, 0xb8, 0};
    const float one = 1.0f, half = 0.5f;
    const void *w_E[E] = {identity, NULL, swap}, *scale_E[E] = {&one, NULL, &half};
    const int32_t offset_E1[E + 1] = {0, 1, 1, 4}; /* expert 0: row 0; expert 1: none; expert 2: rows 1 to 3 */
    const float x_ND[N * D] = {1, 2, 3, 4, 5, 6, 7, 8};
    float y_NF[N * F];

    pm_context *ctx;
    int failed =
        pm_open(&ctx, "threads=2") != PM_OK ||
        pm_grouped_gemm(ctx, y_NF, x_ND, PM_F32, w_E, scale_E, PM_W_F8_E4M3_B128, offset_E1, N, D, F, E) != PM_OK ||
        pm_synchronize(ctx) != PM_OK;
    if (failed) {
        fprintf(stderr, "%s\n", pm_error(ctx));
    } else {
        for (int n = 0; n < N; n++) printf("%g %g\n", y_NF[n * F], y_NF[n * F + 1]);
    }
    pm_close(ctx);
    return failed;
}
