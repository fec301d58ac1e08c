/* A cuda back end that only says with which options it was opened, and on which device's context. */
#include <panamoe.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

int cuCtxGetDevice(int *device);

struct pm_context {
    char options[256];
};

int32_t pm_abi(void) { return PM_ABI; }

int32_t pm_open(pm_context **out, const char *options) {
    int device = -1;
    cuCtxGetDevice(&device);
    *out = malloc(sizeof(pm_context));
    snprintf((*out)->options, sizeof (*out)->options, "%s current=%d", options, device);
    return PM_OK;
}

void pm_close(pm_context *ctx) { free(ctx); }

const char *pm_error(const pm_context *ctx) { return ctx->options; }

const char *pm_describe(const pm_context *ctx) { return ctx->options; }

int32_t pm_memory(const pm_context *ctx) { return ctx == NULL ? PM_HOST : PM_DEVICE; }

int64_t pm_allocated(const pm_context *ctx) { return ctx == NULL; }
