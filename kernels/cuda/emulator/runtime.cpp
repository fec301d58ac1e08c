// The CUDA runtime of the emulated device: memory is the host's, every stream has always finished.
#include <cuda_runtime.h>
#include <sys/sysinfo.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

#include "emulator.hpp"

using panamoe::emulator::kMaxSharedBytes;

namespace {

// Each allocation lies between two strips of a known pattern, which are looked at when it is freed.
constexpr size_t kGuardBytes = 256;
constexpr unsigned char kGuard = 0xa5, kPoison = 0xff;  // as a float, poison is NaN

struct Memory {
    std::mutex mutex;
    std::map<void *, size_t> allocations;
    size_t allocated = 0;

    // Half of what the machine has.
    static size_t total() {
        struct sysinfo info;
        return sysinfo(&info) == 0 ? size_t{info.totalram} * info.mem_unit / 2 : size_t{1} << 30;
    }
};

Memory &memory() {
    static Memory memory;
    return memory;
}

thread_local cudaError_t last_error = cudaSuccess;

cudaError_t remember(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

bool intact(const unsigned char *guard) {
    for (size_t i = 0; i < kGuardBytes; i++)
        if (guard[i] != kGuard) return false;
    return true;
}

}  // namespace

const char *cudaGetErrorName(cudaError_t error) {
    switch (error) {
        case cudaSuccess: return "cudaSuccess";
        case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
        case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
        case cudaErrorInitializationError: return "cudaErrorInitializationError";
        case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
        case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
        case cudaErrorNoDevice: return "cudaErrorNoDevice";
        case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
        case cudaErrorInvalidResourceHandle: return "cudaErrorInvalidResourceHandle";
        case cudaErrorNotReady: return "cudaErrorNotReady";
        case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
        case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
        case cudaErrorNotSupported: return "cudaErrorNotSupported";
        case cudaErrorUnknown: break;
    }
    return "cudaErrorUnknown";
}

const char *cudaGetErrorString(cudaError_t error) {
    switch (error) {
        case cudaSuccess: return "no error";
        case cudaErrorInvalidValue: return "invalid argument";
        case cudaErrorMemoryAllocation: return "out of memory";
        case cudaErrorInitializationError: return "initialization error";
        case cudaErrorInvalidConfiguration: return "invalid configuration argument";
        case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
        case cudaErrorNoDevice: return "no CUDA-capable device is detected";
        case cudaErrorInvalidDevice: return "invalid device ordinal";
        case cudaErrorInvalidResourceHandle: return "invalid resource handle";
        case cudaErrorNotReady: return "device not ready";
        case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
        case cudaErrorLaunchFailure: return "unspecified launch failure";
        case cudaErrorNotSupported: return "operation not supported";
        case cudaErrorUnknown: break;
    }
    return "unknown error";
}

cudaError_t cudaGetLastError() {
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError() { return last_error; }

// ---- The device ----

cudaError_t cudaDriverGetVersion(int *version) {
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count) {
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device) {
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) { return remember(device == 0 ? cudaSuccess : cudaErrorInvalidDevice); }

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device) {
    if (device != 0) return remember(cudaErrorInvalidDevice);
    *properties = {};
    std::strcpy(properties->name, "emulator");
    properties->totalGlobalMem = Memory::total();
    properties->sharedMemPerBlockOptin = kMaxSharedBytes;
    properties->major = 9;
    properties->minor = 0;
    properties->multiProcessorCount = panamoe::emulator::kMultiprocessors;
    properties->warpSize = panamoe::emulator::kWarp;
    properties->maxThreadsPerBlock = panamoe::emulator::kMaxThreads;
    properties->l2CacheSize = 1 << 20;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
    cudaDeviceProp properties;
    if (cudaError_t error = cudaGetDeviceProperties(&properties, device)) return error;
    switch (attribute) {
        case cudaDevAttrMultiProcessorCount: *value = properties.multiProcessorCount; return cudaSuccess;
        case cudaDevAttrComputeCapabilityMajor: *value = properties.major; return cudaSuccess;
        case cudaDevAttrComputeCapabilityMinor: *value = properties.minor; return cudaSuccess;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin:
            *value = static_cast<int>(properties.sharedMemPerBlockOptin);
            return cudaSuccess;
    }
    return remember(cudaErrorInvalidValue);
}

cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }

// ---- Memory ----

cudaError_t cudaMalloc(void **result, size_t bytes) {
    *result = nullptr;
    if (bytes == 0) return cudaSuccess;
    Memory &m = memory();
    std::lock_guard lock(m.mutex);
    size_t total = Memory::total();
    if (bytes > total || m.allocated > total - bytes) return remember(cudaErrorMemoryAllocation);
    size_t whole = (bytes + 2 * kGuardBytes + 255) / 256 * 256;
    auto *lowest = static_cast<unsigned char *>(std::aligned_alloc(256, whole));
    if (!lowest) return remember(cudaErrorMemoryAllocation);
    try {
        m.allocations.emplace(lowest + kGuardBytes, bytes);
    } catch (const std::bad_alloc &) {
        std::free(lowest);
        return remember(cudaErrorMemoryAllocation);
    }
    m.allocated += bytes;
    std::memset(lowest, kGuard, kGuardBytes);
    std::memset(lowest + kGuardBytes, kPoison, bytes);
    std::memset(lowest + kGuardBytes + bytes, kGuard, kGuardBytes);
    *result = lowest + kGuardBytes;
    return cudaSuccess;
}

cudaError_t cudaFree(void *data) {
    if (!data) return cudaSuccess;
    Memory &m = memory();
    std::lock_guard lock(m.mutex);
    auto found = m.allocations.find(data);
    if (found == m.allocations.end()) return remember(cudaErrorInvalidValue);
    size_t bytes = found->second;
    auto *begin = static_cast<unsigned char *>(data);
    bool clean = intact(begin - kGuardBytes) && intact(begin + bytes);
    m.allocations.erase(found);
    m.allocated -= bytes;
    std::free(begin - kGuardBytes);
    return remember(clean ? cudaSuccess : cudaErrorIllegalAddress);  // somebody wrote before or behind it
}

cudaError_t cudaMallocHost(void **result, size_t bytes) {
    *result = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    return remember(*result ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void *data) {
    std::free(data);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
    std::lock_guard lock(memory().mutex);
    *total = Memory::total();
    *free = *total - memory().allocated;
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind) {
    if (bytes > 0) std::memcpy(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
    return cudaMemcpy(to, from, bytes, kind);
}

cudaError_t cudaMemset(void *data, int value, size_t bytes) {
    if (bytes > 0) std::memset(data, value, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *data, int value, size_t bytes, cudaStream_t) {
    return cudaMemset(data, value, bytes);
}

// ---- Streams and events ----

struct CUstream_st {};
struct CUevent_st {
    std::chrono::steady_clock::time_point time;
};

cudaError_t cudaStreamCreate(cudaStream_t *stream) {
    *stream = new (std::nothrow) CUstream_st;
    return remember(*stream ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) { return cudaStreamCreate(stream); }

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamQuery(cudaStream_t) { return cudaSuccess; }

cudaError_t cudaEventCreate(cudaEvent_t *event) {
    *event = new (std::nothrow) CUevent_st;
    return remember(*event ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) { return cudaEventCreate(event); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
    event->time = std::chrono::steady_clock::now();
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to) {
    *milliseconds = std::chrono::duration<float, std::milli>(to->time - from->time).count();
    return cudaSuccess;
}
