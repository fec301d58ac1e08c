package org.panamoe.tensor;

/** How a weight is stored. Ids are those of {@code enum pm_format} in panamoe.h. */
public enum QuantFormat {
    F32(0, DType.F32, 0),
    BF16(1, DType.BF16, 0),
    /** e4m3 codes; one F32 scale, a multiplier, for each block of 128 x 128 weights; the last block may be short. */
    F8_E4M3_B128(2, DType.F8_E4M3, 128);

    public final int id;
    public final DType stored;
    /** Edge of the square block that shares one scale; 0 where there are no scales. */
    public final int block;

    QuantFormat(int id, DType stored, int block) {
        this.id = id;
        this.stored = stored;
        this.block = block;
    }

    /** Whether each weight's block has a scale. */
    public boolean scaled() {
        return block != 0;
    }
}
