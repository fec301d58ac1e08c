package org.panamoe.tensor;

/** How a weight is stored. Ids are those of {@code enum pm_format} in panamoe.h. */
public enum QuantFormat {
    F32(0, DType.F32, DType.F32, 0, 0, 1),
    BF16(1, DType.BF16, DType.F32, 0, 0, 1),
    /** e4m3 codes; one F32 scale, a multiplier, for each block of 128 x 128 weights; the last block may be short. */
    F8_E4M3_B128(2, DType.F8_E4M3, DType.F32, 128, 128, 1),
    /**
     * Codes from -127 to 127; one BF16 scale for each row and group of 32 columns, of which the last may be short. Products
     * are of codes: see pm_gemm in panamoe.h.
     */
    INT8(3, DType.I8, DType.BF16, 1, 32, 1),
    /** Codes from -8 to 7, as code + 8 in half a byte, the even column in the lower; otherwise as INT8. */
    INT4(4, DType.U8, DType.BF16, 1, 32, 2);

    public final int id;
    public final DType stored;
    /** Of the scales, if there are any. */
    public final DType scales;
    /** Rows of the block that shares one scale; 0 where there are no scales. */
    public final int blockRows;
    /** Columns of that block. */
    public final int block;
    /** Weights in one stored element. */
    public final int packed;

    QuantFormat(int id, DType stored, DType scales, int blockRows, int block, int packed) {
        this.id = id;
        this.stored = stored;
        this.scales = scales;
        this.blockRows = blockRows;
        this.block = block;
        this.packed = packed;
    }

    /** Whether each weight's block has a scale. */
    public boolean scaled() {
        return block != 0;
    }

    /** Whether products are of codes, with activations that are quantised, too. */
    public boolean integer() {
        return this == INT8 || this == INT4;
    }

    /** What a matrix takes, scales included. */
    public long bytes(long rows, long columns) {
        long data = rows * Math.ceilDiv(columns, packed) * stored.bytes;
        return scaled() ? data + Math.ceilDiv(rows, blockRows) * Math.ceilDiv(columns, block) * scales.bytes : data;
    }

    /** Stored elements of a row of so many weights. */
    public int elements(int columns) {
        return Math.ceilDiv(columns, packed);
    }
}
