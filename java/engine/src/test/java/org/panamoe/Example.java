package org.panamoe;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.Set;
import org.panamoe.backend.Backend;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.engine.Engine;
import org.panamoe.engine.Request;
import org.panamoe.engine.Sampling;
import org.panamoe.model.Model;

/** The example of the README: a folder with a model, token ids in, token ids out. */
final class Example {
    private Example() {}

    // README: from here
    public static void main(String[] args) {
        try (var checkpoint = Checkpoint.open(Path.of(args[0]));
                var kernels = Backend.require("cpu");
                var model = Model.load(checkpoint, kernels);
                var engine = new Engine(model, 256)) {
            var generation = engine.add(new Request(new int[] {0, 54, 85}, 20, Set.of(1), Sampling.greedy(), 1));
            while (engine.step()) {}
            System.out.println(Arrays.toString(generation.tokens()));
        }
    }
    // README: to here
}
