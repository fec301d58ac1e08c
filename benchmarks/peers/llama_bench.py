"""Measures llama.cpp and Panamoe in turn on the same slice of a model, and prints the medians of both and their ratio.

    python3 llama_bench.py --llama-bench PATH --model FILE.gguf --experts 64 --weights int4 --depth 0,4096 --prompt 128

Each round runs llama-bench and then ./panamoe bench, or the other way round, for each test; what a shared machine gives
changes within minutes, so only numbers of one run are compared. Where there is no llama-bench, no model, or one of another
shape, it says so and ends with exit code 0, as a skipped test does.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
from dataclasses import dataclass

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SAME = 0.01  # by how much parameters may differ: copies of a matrix that one side keeps twice


class Skipped(Exception):
    """There is nothing to compare, for the reason that it tells."""


@dataclass(frozen=True)
class Test:
    """Decoding behind depth tokens, or reading a prompt."""

    kind: str
    size: int

    @property
    def name(self):
        return f"decode at {self.size}" if self.kind == "decode" else f"prefill {self.size}"

    def theirs(self, generate):
        if self.kind == "prefill":
            return ["-p", str(self.size), "-n", "0"]
        # Older builds know no -d.
        return ["-p", "0", "-n", str(generate)] + (["-d", str(self.size)] if self.size else [])

    def ours(self):
        return [self.kind, "--depth" if self.kind == "decode" else "--prompt", str(self.size)]


def run(command):
    """The JSON that a command prints."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise RuntimeError(f"{os.path.basename(command[0])} ended with exit code {done.returncode}: {lines[-1][:300]}")
    try:
        return json.loads(done.stdout)
    except ValueError as e:
        raise RuntimeError(f"{os.path.basename(command[0])} printed no JSON: {e}") from e


def llama(options, test):
    """llama-bench's one result of a test."""
    command = [options.llama_bench, "-m", options.model, "-t", str(options.threads), "-r", str(options.repetitions)]
    command += test.theirs(options.generate) + shlex.split(options.llama_args) + ["-o", "json"]
    results = run(command)
    if len(results) != 1:
        raise RuntimeError(f"llama-bench has {len(results)} results of one test")
    return results[0]


def panamoe(options, test):
    """Our one result of a test, and the machine."""
    kind, *size = test.ours()
    command = [options.panamoe, "bench", kind, *size, "--shape", options.shape, "--layers", str(options.layers)]
    command += ["--experts", str(options.experts), "--weights", options.weights, "--threads", str(options.threads)]
    command += ["--rounds", "1", "--seconds", str(options.seconds), "--json"]
    if options.vocab:
        command += ["--vocab", str(options.vocab)]
    report = run(command)
    return report["results"][0], report["machine"]


def check(options):
    """Refuses what cannot be compared before anything long is run."""
    if not options.llama_bench:
        raise Skipped("no llama-bench: --llama-bench says where it is")
    if not os.access(options.llama_bench, os.X_OK) or os.path.isdir(options.llama_bench):
        raise Skipped(f"no llama-bench: {options.llama_bench} is no program")
    if not options.model:
        raise Skipped("no model: --model names a GGUF file of the same slice")
    if not os.path.isfile(options.model):
        raise Skipped(f"no model: there is no file {options.model}")


def check_shape(theirs, ours):
    """As far as llama-bench tells: the architecture, and how many parameters there are."""
    kind = theirs.get("model_type", "")
    if not kind.startswith("deepseek2"):
        raise Skipped(f"another shape: the model is {kind or 'of no known kind'}, not deepseek2")
    their, our = theirs["model_n_params"], ours["parameters"]
    if abs(their / our - 1) > SAME:
        raise Skipped(f"another shape: the model has {their / 1e9:.3f} G parameters, the slice {our / 1e9:.3f} G")


def measure(options):
    """Everything that was measured, by test."""
    check(options)
    tests = [Test("decode", depth) for depth in options.depth] + [Test("prefill", prompt) for prompt in options.prompt]
    found = {"results": {test.name: {"llama.cpp": [], "panamoe": []} for test in tests}}
    for turn in range(options.rounds):
        for test in tests:
            if turn % 2 == 0:
                theirs = llama(options, test)
                ours, machine = panamoe(options, test)
            else:
                ours, machine = panamoe(options, test)
                theirs = llama(options, test)
            if "model" not in found:
                check_shape(theirs, ours)
                found["model"] = {
                    key: theirs.get(key) for key in ("build_commit", "model_type", "model_size", "model_n_params")}
                found["machine"] = machine
            result = found["results"][test.name]
            result["llama.cpp"].append(statistics.median(theirs["samples_ts"]))
            result["panamoe"].append(ours["tokens_per_second"])
            print(f"round {turn + 1}, {test.name}: llama.cpp {result['llama.cpp'][-1]:.3g}, "
                  f"panamoe {result['panamoe'][-1]:.3g} tokens/s", file=sys.stderr, flush=True)
    return found


def table(options, found):
    """The medians over rounds, and the median of the rounds' ratios: what is slow in one round is so for both."""
    model, machine = found["model"], found["machine"]
    bits = 8 * model["model_size"] / model["model_n_params"]
    lines = [
        f"{machine['cpu']}, {options.threads} threads; load {machine['load_average_before']} before the first of ours",
        f"llama.cpp {model['build_commit']}: {model['model_type']}, {bits:.2f} bits for each parameter",
        f"panamoe: {options.shape}, {options.layers} layers, {options.experts} experts, projections in {options.weights}",
        "",
        "| test | llama.cpp tokens/s | panamoe tokens/s | panamoe / llama.cpp | rounds |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, result in found["results"].items():
        theirs, ours = result["llama.cpp"], result["panamoe"]
        ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
        lines.append(f"| {name} | {spread(theirs)} | {spread(ours)} | {spread(ratios)} | {len(ratios)} |")
    return "\n".join(lines)


def spread(values):
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def counts(text):
    """Numbers apart by commas; none where the text is empty."""
    values = [int(part) for part in text.split(",") if part]
    if any(value < 0 for value in values):
        raise argparse.ArgumentTypeError(f"{text}: none may be negative")
    return values


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: not above 0")
    return value


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-bench", help="the program")
    parser.add_argument("--model", help="GGUF file of the same slice, see README.md")
    parser.add_argument("--llama-args", default="", help="more arguments of llama-bench, in one word: '-fa 1 -mmp 0'")
    parser.add_argument("--panamoe", default=os.path.join(ROOT, "panamoe"), help="our launcher")
    parser.add_argument("--shape", default="v3")
    parser.add_argument("--layers", type=positive, default=2)
    parser.add_argument("--experts", type=positive, default=64)
    parser.add_argument("--vocab", type=positive, help="of the slice; without it as bench decode has it")
    parser.add_argument("--weights", default="int4", help="how our projections are stored")
    parser.add_argument("--depth", type=counts, default=[0], help="tokens behind which one is decoded")
    parser.add_argument("--prompt", type=counts, default=[128], help="tokens of a prompt")
    parser.add_argument("--generate", type=positive, default=16, help="tokens that llama-bench decodes in a repetition")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), help="of both")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--repetitions", type=positive, default=3, help="of llama-bench in each round")
    parser.add_argument("--seconds", type=float, default=3, help="of ours in each round")
    parser.add_argument("--to", help="file for everything that was measured, JSON")
    return parser.parse_args(arguments)


def main(arguments):
    options = parse(arguments)
    try:
        found = measure(options)
    except Skipped as e:
        print(f"skipped: {e}")
        return 0
    except (OSError, RuntimeError, LookupError) as e:
        print(f"llama_bench.py: {e}", file=sys.stderr)
        return 1
    print(table(options, found))
    if options.to:
        with open(options.to, "w") as f:
            json.dump(found, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
