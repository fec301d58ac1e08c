/* A CUDA driver that computes nothing: libcuda.so.1 with the functions that this module calls, for machines without one.
   Its two devices are this process, their memory is the host's. FAKE_CUDA in the environment says what goes wrong. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_CONTEXT = 201, NOT_SUPPORTED = 801 };

typedef struct { int device; } Context;
typedef struct { Context *context; } Stream;
typedef struct { Context *context; struct timespec time; } Event;

static Context primary[2] = {{0}, {1}};
static int retained[2];
static int initialized;
static __thread Context *current[16];
static __thread int depth;

static int is(const char *mode) {
    const char *given = getenv("FAKE_CUDA");
    return given != NULL && strcmp(given, mode) == 0;
}

int cuDriverGetVersion(int *version) {
    *version = 12040;
    return SUCCESS;
}

int cuInit(unsigned flags) {
    if (is("abort")) abort();
    if (is("segv")) *(volatile int *)8 = 1;
    if (is("exit")) exit(3);
    if (is("hang")) for (;;) pause();
    if (is("nodevice")) return NO_DEVICE;
    if (is("noisy")) fputs("driver: hello", stderr);
    initialized = 1;
    return flags == 0 ? SUCCESS : INVALID_VALUE;
}

int cuGetErrorName(int error, const char **text) {
    *text = "CUDA_ERROR_NO_DEVICE";
    return error == NO_DEVICE ? SUCCESS : INVALID_VALUE;
}

int cuGetErrorString(int error, const char **text) {
    *text = "no CUDA-capable device is detected";
    return error == NO_DEVICE ? SUCCESS : INVALID_VALUE;
}

int cuDeviceGetCount(int *count) {
    *count = is("zero") ? 0 : 2;
    return initialized ? SUCCESS : NOT_INITIALIZED;
}

int cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return initialized ? SUCCESS : NOT_INITIALIZED;
}

int cuDeviceGetName(char *name, int length, int device) {
    if (is("late")) abort();
    snprintf(name, length, "Fake\tGPU %d", device);
    return SUCCESS;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    *bytes = (size_t)(device + 1) << 33;
    return SUCCESS;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
        case 75: *value = 9; return SUCCESS;
        case 76: *value = 0; return SUCCESS;
        case 16: *value = 132 - device; return SUCCESS;
        case 13: *value = 1980000; return SUCCESS;
        case 36: *value = 2619000; return device == 0 ? SUCCESS : NOT_SUPPORTED;
        default: return INVALID_VALUE;
    }
}

int cuDeviceGetPCIBusId(char *id, int length, int device) {
    snprintf(id, length, "0000:%02x:00.0", device + 10);
    return SUCCESS;
}

int cuDeviceGetUuid(unsigned char *uuid, int device) {
    for (int i = 0; i < 16; i++) uuid[i] = (unsigned char)(16 * device + i);
    return SUCCESS;
}

int cuDevicePrimaryCtxRetain(Context **context, int device) {
    retained[device]++;
    *context = &primary[device];
    return SUCCESS;
}

int cuDevicePrimaryCtxRelease_v2(int device) { return retained[device]-- > 0 ? SUCCESS : INVALID_CONTEXT; }

int cuCtxPushCurrent_v2(Context *context) {
    if (context == NULL) return INVALID_CONTEXT;
    current[depth++] = context;
    return SUCCESS;
}

int cuCtxPopCurrent_v2(Context **context) {
    if (depth == 0) return INVALID_CONTEXT;
    *context = current[--depth];
    return SUCCESS;
}

int cuCtxGetCurrent(Context **context) {
    *context = depth == 0 ? NULL : current[depth - 1];
    return SUCCESS;
}

int cuCtxGetDevice(int *device) {
    if (depth == 0) return INVALID_CONTEXT;
    *device = current[depth - 1]->device;
    return SUCCESS;
}

int cuStreamCreate(Stream **stream, unsigned flags) {
    (void)flags;
    if (depth == 0) return INVALID_CONTEXT;
    *stream = malloc(sizeof(Stream));
    (*stream)->context = current[depth - 1];
    return SUCCESS;
}

int cuStreamDestroy_v2(Stream *stream) {
    free(stream);
    return SUCCESS;
}

int cuStreamGetCtx(Stream *stream, Context **context) {
    if ((uintptr_t)stream > 2) *context = stream->context;
    else if (depth == 0) return INVALID_CONTEXT;
    else *context = current[depth - 1];
    return SUCCESS;
}

int cuStreamSynchronize(Stream *stream) {
    (void)stream;
    return SUCCESS;
}

int cuEventCreate(Event **event, unsigned flags) {
    (void)flags;
    if (depth == 0) return INVALID_CONTEXT;
    *event = malloc(sizeof(Event));
    (*event)->context = current[depth - 1];
    return SUCCESS;
}

int cuEventDestroy_v2(Event *event) {
    free(event);
    return SUCCESS;
}

#ifndef LACKING
int cuEventRecord(Event *event, Stream *stream) {
    if (event->context != stream->context) return INVALID_CONTEXT;
    clock_gettime(CLOCK_MONOTONIC, &event->time);
    return SUCCESS;
}
#endif

int cuEventSynchronize(Event *event) {
    (void)event;
    return SUCCESS;
}

int cuEventElapsedTime(float *milliseconds, Event *start, Event *stop) {
    *milliseconds = (stop->time.tv_sec - start->time.tv_sec) * 1e3f + (stop->time.tv_nsec - start->time.tv_nsec) * 1e-6f;
    return SUCCESS;
}

int cuMemAlloc_v2(uintptr_t *address, size_t bytes) {
    if (depth == 0) return INVALID_CONTEXT;
    *address = (uintptr_t)aligned_alloc(256, (bytes + 255) / 256 * 256);
    return SUCCESS;
}

int cuMemFree_v2(uintptr_t address) {
    if (depth == 0) return INVALID_CONTEXT;
    free((void *)address);
    return SUCCESS;
}

int cuMemcpyHtoD_v2(uintptr_t to, const void *from, size_t bytes) {
    memcpy((void *)to, from, bytes);
    return SUCCESS;
}

int cuMemcpyDtoH_v2(void *to, uintptr_t from, size_t bytes) {
    memcpy(to, (const void *)from, bytes);
    return SUCCESS;
}

/* The only kernel: twice the float at the address that is its argument. */
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, Stream *stream, void **arguments, void **extra) {
    (void)function, (void)gx, (void)gy, (void)gz, (void)bx, (void)by, (void)bz, (void)shared, (void)stream, (void)extra;
    float *x = (float *)*(uintptr_t *)arguments[0];
    *x *= 2;
    return SUCCESS;
}
