// How near grouped_gemm comes to the limits measured in the same run. Not a test: prints a table.
//
//   speed [isa [format...]]
//
// Decode: 8 experts with one row each, out of so many that no cache holds them, against the read bandwidth.
// Prefill: one expert with 64 rows, against the rate of multiply-adds, of bytes where the format is of integers.
// Times are of the processor, divided by the threads: what the clock would show if nobody else used the cores.
#include <time.h>

#include <algorithm>

#include "check.hpp"

using namespace check;

namespace {

constexpr int64_t kBytes = int64_t{768} << 20;  // of weights, far beyond the caches

bool integer(int32_t format) { return format == PM_W_INT8 || format == PM_W_INT4; }

struct Experts {
    int32_t format, D, F;
    std::vector<const void *> w_E, scale_E;
};

// Random codes and scales, as a checkpoint has them: near normal, the largest of a block at 448.
Experts experts(int32_t format, int32_t D, int32_t F, std::vector<uint8_t> &memory,
                const std::vector<uint16_t> &scales) {
    int64_t bytes = F * Weight::row_bytes(format, D);
    Random random(1);
    std::vector<uint8_t> sample(1 << 20);
    for (size_t i = 0; i < sample.size(); i++) {
        if (integer(format)) {
            sample[i] = static_cast<uint8_t>(random.bits());
            continue;
        }
        float value = random.normal() / (format == PM_W_F8_E4M3_B128 ? 4.0f : 50.0f);
        uint32_t bits;
        if (format == PM_W_F8_E4M3_B128) {
            uint8_t best = 0;  // the code below: good enough for a distribution
            for (uint8_t code = 0; code < 0x7f; code++)
                if (e4m3(code) <= std::fabs(value) * 448) best = code;
            sample[i] = static_cast<uint8_t>(best | (value < 0 ? 0x80 : 0));
        } else {
            std::memcpy(&bits, &value, 4);
            if (format == PM_W_BF16) bits >>= 16;
            std::memcpy(&sample[i], &bits, format == PM_W_BF16 ? 2 : 4);
            i += format == PM_W_BF16 ? 1 : 3;
        }
        if (format == PM_W_F8_E4M3_B128 && i >= 1 << 16) {  // searching for codes takes long
            for (size_t filled = i; filled < sample.size(); filled *= 2)
                std::memcpy(&sample[filled], sample.data(), std::min(filled, sample.size() - filled));
            break;
        }
    }
    for (size_t at = 0; at < memory.size(); at += sample.size())
        std::memcpy(&memory[at], sample.data(), std::min(sample.size(), memory.size() - at));
    Experts result{format, D, F, {}, {}};
    int64_t scale = 0;  // those of integers lie apart, as they are a good part of what is read
    for (int64_t at = 0; at + bytes <= kBytes; at += bytes) {
        result.w_E.push_back(&memory[static_cast<size_t>(at)]);
        result.scale_E.push_back(&scales[static_cast<size_t>(scale)]);
        if (integer(format)) scale += int64_t{D} / 32 * F;
    }
    return result;
}

double processor_seconds() {
    timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Median seconds of a call on experts e, e + 1, ... of count, each with rows rows.
double seconds(const Context &context, const Experts &experts, int threads, int32_t count, int32_t rows, int repeats) {
    int32_t D = experts.D, F = experts.F, N = count * rows;
    Random random(2);
    std::vector<float> x = random.normals(int64_t{N} * D), y(static_cast<size_t>(int64_t{N} * F));
    std::vector<int32_t> offset_E1;
    for (int32_t e = 0; e <= count; e++) offset_E1.push_back(e * rows);
    std::vector<double> taken;
    size_t first = 0;
    for (int i = 0; i < repeats; i++) {
        double start = processor_seconds();
        context.ok(pm_grouped_gemm(context, y.data(), x.data(), PM_F32, &experts.w_E[first], &experts.scale_E[first],
                                   experts.format, offset_E1.data(), N, D, F, count),
                   "grouped_gemm");
        taken.push_back((processor_seconds() - start) / threads);
        first += static_cast<size_t>(count);
        if (first + static_cast<size_t>(count) > experts.w_E.size()) first = 0;
    }
    std::nth_element(taken.begin(), taken.begin() + repeats / 2, taken.end());
    return taken[static_cast<size_t>(repeats / 2)];
}

}  // namespace

int main(int argc, char **argv) {
    std::string isa = argc > 1 ? std::string(" isa=") + argv[1] : "";
    std::vector<uint8_t> memory(kBytes);
    std::vector<uint16_t> scales(kBytes / 16, 0x39d2);  // 0.0004 in bfloat16, and two of them as a float
    for (int32_t format : {PM_W_F32, PM_W_BF16, PM_W_F8_E4M3_B128, PM_W_INT8, PM_W_INT4})
        for (auto [D, F] : {std::pair{7168, 2048}, {2048, 7168}}) {
            bool wanted = argc < 3;
            for (int i = 2; i < argc; i++) wanted |= std::strcmp(argv[i], format_name(format)) == 0;
            if (!wanted) continue;
            Experts all = experts(format, D, F, memory, scales);
            double bytes =
                static_cast<double>(F * Weight::row_bytes(format, D) + (integer(format) ? int64_t{D} / 16 * F : 0));
            for (int threads : {1, 2}) {
                Context context("threads=" + std::to_string(threads) + isa);
                if (context.status != PM_OK) return std::printf("%s\n", context.error()), 1;
                float bandwidth = 0, rate = 0;
                context.ok(pm_measure(context, PM_READ_BANDWIDTH, &bandwidth), "measure");
                context.ok(pm_measure(context, integer(format) ? PM_INT8_RATE : PM_FMA_RATE, &rate), "measure");
                int32_t count = std::min<int32_t>(8, static_cast<int32_t>(all.w_E.size()) / 2);
                double read = count * bytes / seconds(context, all, threads, count, 1, 15);
                double few = 1.0 * count * bytes / seconds(context, all, threads, count, 4, 7);
                double flops = 2.0 * 64 * D * F / seconds(context, all, threads, 1, 64, 7);
                std::printf(
                    "%-13s D=%d F=%d %s: 1 row %5.1f of %5.1f GB/s (%3.0f %%), 4 rows %5.1f GB/s (%3.0f %%), "
                    "64 rows %6.1f of %6.1f G%s/s (%3.0f %%)\n",
                    format_name(format), D, F, pm_describe(context), read / 1e9, bandwidth / 1e9,
                    100 * read / bandwidth, few / 1e9, 100 * few / bandwidth, flops / 1e9, rate / 1e9,
                    integer(format) ? "OP" : "FLOP", 100 * flops / rate);
                std::fflush(stdout);
            }
        }
    return failures;
}
