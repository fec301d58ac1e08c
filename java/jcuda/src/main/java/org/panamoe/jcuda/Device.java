package org.panamoe.jcuda;

/**
 * What the driver says of a device.
 *
 * @param index as the driver counts, among those that the environment's CUDA_VISIBLE_DEVICES lets it see
 * @param major of the compute capability: 9 of 9.0
 * @param minor of the compute capability: 0 of 9.0
 * @param multiprocessors streaming multiprocessors (SMs)
 * @param memoryBytes all of its memory, free or not
 * @param clockKilohertz highest clock of the multiprocessors; 0 where the driver does not say
 * @param memoryClockKilohertz highest clock of the memory; 0 where the driver does not say
 * @param driverVersion the CUDA version that the driver speaks: 12040 is 12.4
 * @param pciBusId "0000:0f:00.0"
 * @param uuid as nvidia-smi writes it: "GPU-..."
 */
public record Device(
        int index,
        String name,
        int major,
        int minor,
        int multiprocessors,
        long memoryBytes,
        int clockKilohertz,
        int memoryClockKilohertz,
        int driverVersion,
        String pciBusId,
        String uuid) {
    /** "9.0". */
    public String computeCapability() {
        return major + "." + minor;
    }

    /** The CUDA version that the driver speaks: "12.4". */
    public String driver() {
        return driverVersion / 1000 + "." + driverVersion % 1000 / 10;
    }
}
