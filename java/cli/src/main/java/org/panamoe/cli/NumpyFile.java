package org.panamoe.cli;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/** A matrix of floats in NumPy's format, version 1.0 (numpy/lib/format.py), row by row. */
final class NumpyFile {
    private static final int ALIGNMENT = 64;

    private final OutputStream out;
    private final ByteBuffer row;

    /** Writes the header. */
    NumpyFile(OutputStream out, int rows, int columns) throws IOException {
        this.out = out;
        row = ByteBuffer.allocate(Math.multiplyExact(columns, Float.BYTES)).order(ByteOrder.LITTLE_ENDIAN);
        var dictionary = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + rows + ", " + columns + "), }";
        int before = 10; // magic, version and length
        int length = Math.ceilDiv(before + dictionary.length() + 1, ALIGNMENT) * ALIGNMENT - before;
        out.write(new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (byte) length, (byte) (length >> 8)});
        var padded = dictionary + " ".repeat(length - 1 - dictionary.length()) + "\n";
        out.write(padded.getBytes(StandardCharsets.US_ASCII));
    }

    void row(float[] values) throws IOException {
        row.clear();
        row.asFloatBuffer().put(values);
        out.write(row.array());
    }
}
