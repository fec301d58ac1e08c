package org.panamoe.backend;

/** How what the gate says becomes scores, in place. The ids are those of {@code enum pm_scoring}. */
public enum Scoring {
    /** Of each value (DeepSeek-V3). */
    SIGMOID(0) {
        @Override
        public void score(float[] logit_E) {
            for (int e = 0; e < logit_E.length; e++) logit_E[e] = (float) (1 / (1 + Math.exp(-logit_E[e])));
        }
    },
    /** Over all experts (DeepSeek-V2). */
    SOFTMAX(1) {
        @Override
        public void score(float[] logit_E) {
            double max = Double.NEGATIVE_INFINITY, sum = 0;
            for (float logit : logit_E) max = Math.max(max, logit);
            for (float logit : logit_E) sum += Math.exp(logit - max);
            for (int e = 0; e < logit_E.length; e++) logit_E[e] = (float) (Math.exp(logit_E[e] - max) / sum);
        }
    };

    final int id;

    Scoring(int id) {
        this.id = id;
    }

    /** For one token. */
    public abstract void score(float[] logit_E);
}
