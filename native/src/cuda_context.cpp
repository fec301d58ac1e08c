// Open, close, error, memory: what panamoe.h says about a context, for one device and one stream.
#include "cuda_context.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>

#ifdef PANAMOE_EMULATOR
#include "emulator/emulator.hpp"
#endif

namespace panamoe {

#ifdef PANAMOE_EMULATOR
const BackEnd kBackEnd{"CUDA", "not an open context of libpanamoe_cudaemu"};
#else
const BackEnd kBackEnd{"CUDA", "not an open context of libpanamoe_cuda"};
#endif

namespace cuda {
namespace {

struct Options {
    int device = 0;
    bool has_stream = false;
    cudaStream_t stream = nullptr;
    bool tensor = false;
    uint64_t seed = 1;
};

// source: what to name where the value is wrong.
bool parse_math(const char *source, const std::string &value) {
    require(value == "exact" || value == "tensor", "open: %s=%s, must be exact or tensor", source, value.c_str());
    return value == "tensor";
}

cudaStream_t parse_stream(const std::string &value) {
    bool hexadecimal = value.starts_with("0x");
    uintptr_t address = 0;
    require(parse_number(hexadecimal ? value.substr(2) : value, address, hexadecimal ? 16 : 10),
            "open: stream=%s, must be the address of a stream, decimal or 0x...", value.c_str());
    return reinterpret_cast<cudaStream_t>(address);
}

Options parse(const char *text) {
    Options options;
    if (const char *math = std::getenv("PANAMOE_CUDA")) options.tensor = parse_math("PANAMOE_CUDA", math);
    each_option(text, [&](const std::string &key, const std::string &value) {
        if (key == "device") {
            require(parse_number(value, options.device) && options.device >= 0,
                    "open: device=%s, must be a number from 0 on", value.c_str());
        } else if (key == "stream") {
            options.has_stream = true;
            options.stream = parse_stream(value);
        } else if (key == "math") {
            options.tensor = parse_math("math", value);
#ifdef PANAMOE_EMULATOR
        } else if (key == "seed") {
            require(parse_number(value, options.seed), "open: seed=%s, must be a number from 0 on", value.c_str());
        } else {
            fail("open: unknown option \"%s\": there are device, stream, math and seed", key.c_str());
#else
        } else {
            fail("open: unknown option \"%s\": there are device, stream and math", key.c_str());
#endif
        }
    });
    return options;
}

// Devices of this machine; throws Error where the driver is missing, too old, or knows none.
int count_devices() {
    int driver = 0, runtime = 0, count = 0;
    cudaError_t status = cudaDriverGetVersion(&driver);
    require(status == cudaSuccess && driver > 0, "open: there is no CUDA driver on this machine");
    status = cudaGetDeviceCount(&count);
    if (status == cudaErrorInsufficientDriver && cudaRuntimeGetVersion(&runtime) == cudaSuccess)
        fail("open: the CUDA driver is for CUDA %d.%d, this library needs CUDA %d.%d", driver / 1000,
             driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    require((status == cudaSuccess && count > 0) || status == cudaErrorNoDevice, "open: no CUDA device can be used: %s",
            cudaGetErrorString(status));
    require(status == cudaSuccess, "open: the CUDA driver finds no device");
    return count;
}

std::string describe(const Options &options, const cudaDeviceProp &device) {
    const char *math = options.tensor ? " math=tensor" : " math=exact";
#ifdef PANAMOE_EMULATOR
    static_cast<void>(device);
    return "backend=cudaemu seed=" + std::to_string(options.seed) + math;
#else
    std::string name = device.name;
    std::replace(name.begin(), name.end(), ' ', '_');
    return "backend=cuda device=" + std::to_string(options.device) + " name=" + name +
           " sm=" + std::to_string(device.major * 10 + device.minor) +
           " sms=" + std::to_string(device.multiProcessorCount) + math;
#endif
}

// Bytes of the context's memory get new contents: what was read from tables among them holds no longer.
void forget_tables(pm_context &ctx, const void *data, int64_t bytes) {
    auto from = reinterpret_cast<uintptr_t>(data), to = from + static_cast<uintptr_t>(bytes);
    std::erase_if(ctx.weight_tables, [&](const WeightTable &table) {
        auto start = reinterpret_cast<uintptr_t>(table.w_E),
             end = start + sizeof(void *) * static_cast<size_t>(table.E);
        return start < to && from < end;
    });
}

unsigned char *grown(pm_context &ctx, const char *operation, Scratch &scratch, size_t bytes) {
    if (bytes > scratch.bytes) {
        bytes = std::max({bytes, 2 * scratch.bytes, size_t{1} << 20});
        void *data = nullptr;
        scratch.given.reserve(scratch.given.size() + 1);
        require_success(ctx, operation, cudaMalloc(&data, bytes));
        scratch.given.emplace_back(data);
        scratch.bytes = bytes;
    }
    return static_cast<unsigned char *>(scratch.given.back().get());
}

void open(pm_context &ctx, const char *text) {
    Options options = parse(text);
    int count = count_devices();
    require(options.device < count, "open: device=%d, this machine has devices 0 to %d", options.device, count - 1);
    cudaDeviceProp device{};
    require_success(ctx, "open", cudaGetDeviceProperties(&device, options.device));
    require(device.major >= 8, "open: device %d is %s with compute capability %d.%d, 8.0 or later is needed",
            options.device, device.name, device.major, device.minor);
    require_success(ctx, "open", cudaSetDevice(options.device));
    ctx.device = options.device;
    ctx.multiprocessors = device.multiProcessorCount;
    options.tensor = options.tensor && device.major == 9;  // the instructions of sm_90a are no later device's
    ctx.tensor = options.tensor;
    if (options.has_stream) {
        cudaError_t status = cudaStreamQuery(options.stream);
        require(status == cudaSuccess || status == cudaErrorNotReady, "open: stream=%p is no stream of device %d: %s",
                static_cast<void *>(options.stream), options.device, cudaGetErrorString(status));
        ctx.stream = options.stream;
    } else {
        require_success(ctx, "open", cudaStreamCreateWithFlags(&ctx.stream, cudaStreamNonBlocking));
        ctx.owns_stream = true;
    }
    require_success(ctx, "open", cudaMalloc(&ctx.fault, sizeof(Fault)));
    require_success(ctx, "open", cudaMemsetAsync(ctx.fault, 0, sizeof(Fault), ctx.stream));
    wait(ctx, "open", false);
#ifdef PANAMOE_EMULATOR
    emulator::emulator_seed(options.seed);
#endif
    ctx.session.description = describe(options, device);
}

}  // namespace

void require_success(const pm_context &ctx, const char *operation, cudaError_t status) {
    if (status == cudaSuccess) return;
    cudaGetLastError();  // told here, not once more at the next call
    // Most failures surface long after the call that caused them.
    fail("%s: CUDA says: %s (%s); last enqueued: %s", operation, cudaGetErrorString(status), cudaGetErrorName(status),
         ctx.last_call);
}

unsigned char *scratch(pm_context &ctx, const char *operation, size_t bytes) {
    return grown(ctx, operation, ctx.scratch, bytes);
}

unsigned char *between_steps(pm_context &ctx, const char *operation, size_t bytes) {
    return grown(ctx, operation, ctx.steps, bytes);
}

void wait(pm_context &ctx, const char *operation, bool report_fault) {
    Fault fault{};
    if (report_fault)
        require_success(ctx, operation,
                        cudaMemcpyAsync(&fault, ctx.fault, sizeof fault, cudaMemcpyDeviceToHost, ctx.stream));
    require_success(ctx, operation, cudaStreamSynchronize(ctx.stream));
    if (fault.taken == 0) return;
    require_success(ctx, operation, cudaMemsetAsync(ctx.fault, 0, sizeof fault, ctx.stream));
    long long number[5];
    std::copy(std::begin(fault.number), std::end(fault.number), number);
    fail(fault_text(fault.what), number[0], number[1], number[2], number[3], number[4]);
}

}  // namespace cuda
}  // namespace panamoe

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_open(pm_context **out, const char *options) {
    return open_context(out, [&](pm_context &ctx) { cuda::open(ctx, options); });
}

void pm_close(pm_context *ctx) {
    if (ctx == nullptr || !delist(ctx)) return;
    // What fails here cannot be told to anybody any more.
    if (ctx->stream != nullptr || ctx->fault != nullptr) {
        cudaSetDevice(ctx->device);
        cudaStreamSynchronize(ctx->stream);
        ctx->weight_tables.clear();
        ctx->scratch.given.clear();
        ctx->steps.given.clear();
        for (const auto &[address, bytes] : ctx->session.allocations) cudaFree(reinterpret_cast<void *>(address));
        cudaFree(ctx->fault);
        if (ctx->owns_stream) cudaStreamDestroy(ctx->stream);
        cudaGetLastError();
    }
    delete ctx;
}

int32_t pm_memory(const pm_context *) { return PM_DEVICE; }

int32_t pm_allocate(pm_context *ctx, void **out, int64_t bytes) {
    return on_device(ctx, "allocate", [&] {
        require_allocate(out, bytes);
        void *data = nullptr;
        // Nothing has an address of its own, too.
        cudaError_t status = cudaMalloc(&data, static_cast<size_t>(std::max<int64_t>(bytes, 1)));
        if (status == cudaErrorMemoryAllocation) {
            cudaGetLastError();
            size_t free = 0, total = 0;
            require_success(*ctx, "allocate", cudaMemGetInfo(&free, &total));
            fail("allocate: %lld bytes: out of memory: of the device's %zu bytes %zu are free",
                 static_cast<long long>(bytes), total, free);
        }
        require_success(*ctx, "allocate", status);
        DeviceMemory owner(data);
        add_allocation(ctx->session, data, bytes);
        *out = owner.release();
    });
}

int32_t pm_free(pm_context *ctx, void *data) {
    return on_device(ctx, "free", [&] {
        auto found = ctx->session.allocations.find(reinterpret_cast<uintptr_t>(data));
        if (found != ctx->session.allocations.end()) forget_tables(*ctx, data, found->second);
        remove_allocation(ctx->session, data);
        require_success(*ctx, "free", cudaFree(data));  // waits for the kernels that use it
    });
}

// A copy within the context's memory is only enqueued. With any other memory on one side, the call returns when the
// copy is done: what is copied to the host can be read, and what was copied from it may be changed or freed.
int32_t pm_copy(pm_context *ctx, void *to, const void *from, int64_t bytes) {
    return on_device(ctx, "copy", [&] {
        require_copy(to, from, bytes);
        if (bytes == 0) return;
        forget_tables(*ctx, to, bytes);
        require_success(*ctx, "copy",
                        cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, ctx->stream));
        bool to_device = is_allocated(ctx->session, to, bytes);
        if (!to_device || !is_allocated(ctx->session, from, bytes)) wait(*ctx, "copy", !to_device);
    });
}

int32_t pm_synchronize(pm_context *ctx) {
    return on_device(ctx, "synchronize", [&] { wait(*ctx, "synchronize", true); });
}
