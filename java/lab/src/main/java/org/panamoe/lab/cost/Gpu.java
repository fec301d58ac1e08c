package org.panamoe.lab.cost;

import java.util.List;
import java.util.Locale;

/**
 * A kind of GPU, per device.
 *
 * @param bf16Flops dense BF16 operations a second
 * @param fp8Flops dense FP8 operations a second
 * @param memory bytes a second from its memory
 * @param nvlink bytes a second to GPUs of its node, one way
 * @param network bytes a second to other nodes, one way
 * @param watts of the device
 * @param dollarsPerHour NaN where nobody said
 * @param source where the numbers come from
 */
public record Gpu(
        String name,
        double bf16Flops,
        double fp8Flops,
        double memory,
        double nvlink,
        double network,
        double watts,
        double dollarsPerHour,
        String source) {
    /** H800 as DeepSeek-V3 was trained on it. */
    public static final Gpu H800 = new Gpu(
            "H800",
            989.4e12,
            1978.9e12,
            3.35e12,
            160e9,
            50e9,
            700,
            2,
            "NVIDIA H100 SXM data sheet (989.4 and 1978.9 TFLOP/s, 3.35 TB/s, 700 W); links and price: DeepSeek-V3"
                    + " report, 3.2.2 and table 1");

    public static final Gpu H200 = new Gpu(
            "H200",
            989.4e12,
            1978.9e12,
            4.8e12,
            450e9,
            50e9,
            700,
            Double.NaN,
            "NVIDIA H200 SXM data sheet (4.8 TB/s, NVLink 900 GB/s both ways, 700 W); one 400 Gbit/s port; no price");

    public static final Gpu B200 = new Gpu(
            "B200",
            2250e12,
            4500e12,
            8e12,
            726e9,
            50e9,
            1000,
            Double.NaN,
            "NVIDIA HGX B200 data sheet (2.25 and 4.5 PFLOP/s dense, 8 TB/s, 1000 W); NVLink as DeepEP's README measures"
                    + " it (726 GB/s); one 400 Gbit/s port; no price");

    public static final List<Gpu> PRESETS = List.of(H800, H200, B200);

    public Gpu {
        positive(name, "bf16Flops", bf16Flops);
        positive(name, "fp8Flops", fp8Flops);
        positive(name, "memory", memory);
        positive(name, "nvlink", nvlink);
        positive(name, "network", network);
        positive(name, "watts", watts);
        if (dollarsPerHour < 0 || Double.isInfinite(dollarsPerHour))
            throw new IllegalArgumentException("%s: price: %s is no price".formatted(name, dollarsPerHour));
    }

    /** The preset of that name, in any case of letters. */
    public static Gpu preset(String name) {
        return PRESETS.stream()
                .filter(gpu -> gpu.name.equals(name.toUpperCase(Locale.ROOT)))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("GPU %s: is none of %s"
                        .formatted(name, PRESETS.stream().map(Gpu::name).toList())));
    }

    /** The same at another price. */
    public Gpu at(double dollarsPerHour) {
        return new Gpu(name, bf16Flops, fp8Flops, memory, nvlink, network, watts, dollarsPerHour, source);
    }

    private static void positive(String name, String what, double value) {
        if (!(value > 0) || Double.isInfinite(value))
            throw new IllegalArgumentException(
                    "%s: %s: %s is not a finite number above 0".formatted(name, what, value));
    }
}
