package org.panamoe.lab.cost;

import java.util.ArrayList;
import java.util.List;

/**
 * What it costs to distil a large model into a small one instead of training the large one: the teacher writes the
 * samples once, the student learns from them.
 *
 * @param samples that the teacher writes
 * @param tokensPerSample of these, output
 * @param outputCost dollars for a million tokens of the teacher
 * @param epochs over the samples
 * @param mfu of the student's training, of the BF16 peak
 * @param students name and weights of each
 */
public record DistillationCost(
        double samples,
        double tokensPerSample,
        double outputCost,
        double epochs,
        double mfu,
        Gpu gpu,
        List<Student> students) {
    /** @param weights that a token passes */
    public record Student(String name, double weights) {
        public Student {
            Check.positive(name, weights);
        }
    }

    public DistillationCost {
        students = List.copyOf(students);
        Check.positive("samples", samples);
        Check.positive("tokens of a sample", tokensPerSample);
        Check.notNegative("price of output", outputCost);
        Check.positive("epochs", epochs);
        Check.share("mfu", mfu);
    }

    /** The size of R1's published set, and two of its students (Qwen2.5 7B and 32B: 7.6 and 32.5 billion weights). */
    public static DistillationCost r1Students() {
        return new DistillationCost(
                800e3,
                6000,
                ServingCost.deepSeekDay().outputCost(),
                2,
                0.4,
                Gpu.H800,
                List.of(new Student("7B", 7.6e9), new Student("32B", 32.5e9)));
    }

    /** Dollars of the teacher's samples. */
    public double teacher() {
        return samples * tokensPerSample * outputCost / 1e6;
    }

    /** GPU hours of a student's training: 6 operations for each weight and token. */
    public double hours(Student student) {
        return TrainingCost.hours(samples * tokensPerSample * epochs, 6 * student.weights, gpu, mfu);
    }

    /** Dollars of samples and training. */
    public double cost(Student student) {
        return teacher() + hours(student) * gpu.dollarsPerHour();
    }

    /**
     * From how many served tokens on distilling and serving the student is cheaper than serving the teacher.
     *
     * @param teacherCost dollars for a million tokens of the teacher
     * @param studentCost dollars for a million tokens of the student
     * @return infinity where the student is not cheaper
     */
    public double breakEvenTokens(Student student, double teacherCost, double studentCost) {
        return studentCost < teacherCost ? cost(student) / (teacherCost - studentCost) * 1e6 : Double.POSITIVE_INFINITY;
    }

    /** The account, line by line, beside that of training the large model. */
    public List<Line> lines(TrainingCost large) {
        double tokens = samples * tokensPerSample;
        var lines = new ArrayList<Line>();
        lines.add(new Line(
                "teacher's samples",
                teacher(),
                "$",
                "%.0fK samples %.0f tokens at $%.3f for 10^6".formatted(samples / 1e3, tokensPerSample, outputCost)));
        for (var student : students) {
            lines.add(new Line(
                    student.name + " student",
                    hours(student),
                    "GPU hours",
                    "6 %.4g %.4g tokens %.0f epochs / (%.4g FLOP/s %.2f) / 3600"
                            .formatted(student.weights, tokens, epochs, gpu.bf16Flops(), mfu)));
            lines.add(new Line(
                    student.name + " student",
                    hours(student) * gpu.dollarsPerHour(),
                    "$",
                    "%.0f h at $%.2f".formatted(hours(student), gpu.dollarsPerHour())));
            double serving = outputCost * student.weights / TokenFlops.activeWeights(large.config());
            lines.add(new Line(
                    student.name + " breaks even",
                    breakEvenTokens(student, outputCost, serving),
                    "tokens",
                    "(samples + student) / ($%.3f - $%.3f for 10^6), a token's cost taken to go with its weights"
                            .formatted(outputCost, serving)));
        }
        double pretraining = large.pretrainingHours() * large.gpu().dollarsPerHour();
        lines.add(new Line(
                "pre-training instead",
                pretraining,
                "$",
                "%.0f h at $%.2f"
                        .formatted(large.pretrainingHours(), large.gpu().dollarsPerHour())));
        for (var student : students)
            lines.add(new Line(
                    "pre-training / " + student.name,
                    pretraining / cost(student),
                    "times",
                    "$%.0f / $%.0f".formatted(pretraining, cost(student))));
        return lines;
    }
}
