package org.panamoe.backend;

/** How what the gate says becomes scores. The ids are those of {@code enum pm_scoring}. */
public enum Scoring {
    /** Of each value (DeepSeek-V3). */
    SIGMOID(0),
    /** Over all experts (DeepSeek-V2). */
    SOFTMAX(1);

    final int id;

    Scoring(int id) {
        this.id = id;
    }
}
