"""Without llama.cpp and without a build of ours: python3 -m unittest discover benchmarks/peers"""

import contextlib
import io
import json
import os
import stat
import sys
import struct
import tempfile
import unittest
from unittest import mock

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import llama_bench  # noqa: E402
import slice_gguf  # noqa: E402

# What stands for llama-bench: it keeps its arguments, and its JSON has what the real one's has and more.
LLAMA = """#!/bin/sh
echo llama "$@" >>"$(dirname "$0")/calls"
cat <<'END'
[{"build_commit": "abc1234", "model_type": "deepseek2 671B Q4_0", "model_size": 2050000000, "model_n_params": PARAMS,
  "n_prompt": 0, "n_gen": 16, "n_depth": 0, "avg_ts": 9.9, "samples_ns": [1, 2, 3], "samples_ts": [4.0, 6.0, 5.0]}]
END
"""

PANAMOE = """#!/bin/sh
echo panamoe "$@" >>"$(dirname "$0")/calls"
cat <<'END'
{"machine": {"cpu": "one", "load_average_before": 0.5},
 "results": [{"name": "decode", "parameters": 4100000000, "tokens_per_second": 12.5}]}
END
"""


class PeersTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.llama = self.program("llama-bench", LLAMA.replace("PARAMS", "4110000000"))
        self.panamoe = self.program("panamoe", PANAMOE)
        self.model = os.path.join(self.folder, "slice.gguf")
        with open(self.model, "w"):
            pass

    def program(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, stat.S_IRWXU)
        return path

    def run_it(self, *more):
        """Exit code, stdout, stderr."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = llama_bench.main(["--panamoe", self.panamoe, "--threads", "2", *more])
        return code, out.getvalue(), err.getvalue()

    def both(self, *more):
        return self.run_it("--llama-bench", self.llama, "--model", self.model, *more)

    def calls(self):
        with open(os.path.join(self.folder, "calls")) as f:
            return f.read().splitlines()

    def test_medians_and_ratios(self):
        to = os.path.join(self.folder, "to.json")
        code, out, err = self.both("--rounds", "3", "--depth", "0,4096", "--prompt", "", "--to", to)
        self.assertEqual((code, err.count("round")), (0, 6))
        self.assertIn("| decode at 0 | 5 (5 to 5) | 12.5 (12.5 to 12.5) | 2.5 (2.5 to 2.5) | 3 |", out)
        self.assertIn("| decode at 4096 | 5 (5 to 5) |", out)
        self.assertIn("llama.cpp abc1234: deepseek2 671B Q4_0, 3.99 bits for each parameter", out)
        with open(to) as f:
            self.assertEqual(json.load(f)["results"]["decode at 0"]["panamoe"], [12.5] * 3)

    def test_both_do_the_same_in_turn(self):
        self.both("--rounds", "2", "--depth", "4096", "--prompt", "128", "--llama-args", "-fa 1", "--weights", "fp8")
        calls = self.calls()
        self.assertEqual([call.split()[0] for call in calls],
                         ["llama", "panamoe", "llama", "panamoe", "panamoe", "llama", "panamoe", "llama"])
        self.assertEqual(calls[0], f"llama -m {self.model} -t 2 -r 3 -p 0 -n 16 -d 4096 -fa 1 -o json")
        self.assertEqual(calls[1], "panamoe bench decode --depth 4096 --shape v3 --layers 2 --experts 64 --weights fp8"
                                   " --threads 2 --rounds 1 --seconds 3 --json")
        self.assertIn("-p 128 -n 0 -fa 1", calls[2])
        self.assertIn("bench prefill --prompt 128", calls[3])

    def test_skips_with_the_reason(self):
        gone = os.path.join(self.folder, "gone")
        for more, reason in (
            ((), "no llama-bench: --llama-bench says where it is"),
            (("--llama-bench", gone), f"no llama-bench: {gone} is no program"),
            (("--llama-bench", self.folder), f"no llama-bench: {self.folder} is no program"),
            (("--llama-bench", self.llama), "no model: --model names a GGUF file of the same slice"),
            (("--llama-bench", self.llama, "--model", gone), f"no model: there is no file {gone}"),
        ):
            self.assertEqual(self.run_it(*more), (0, f"skipped: {reason}\n", ""))

    def test_another_shape_is_not_compared(self):
        self.program("llama-bench", LLAMA.replace("PARAMS", "6740000000"))
        code, out, _ = self.both()
        self.assertEqual(
            (code, out), (0, "skipped: another shape: the model has 6.740 G parameters, the slice 4.100 G\n"))
        self.program("llama-bench", LLAMA.replace("PARAMS", "4100000000").replace("deepseek2", "llama"))
        code, out, _ = self.both()
        self.assertEqual(
            (code, out), (0, "skipped: another shape: the model is llama 671B Q4_0, not deepseek2\n"))

    def test_a_failure_is_told(self):
        self.program("llama-bench", "#!/bin/sh\necho 'error: failed to load model' >&2\nexit 1\n")
        code, out, err = self.both()
        self.assertEqual((code, out), (1, ""))
        self.assertEqual(
            err, "llama_bench.py: llama-bench ended with exit code 1: error: failed to load model\n")
        self.program("llama-bench", "#!/bin/sh\necho hello\n")
        self.assertIn("llama-bench printed no JSON", self.both()[2])

    def test_wrong_numbers_are_refused(self):
        for more in (("--rounds", "0"), ("--depth", "-1"), ("--threads", "x")):
            with self.assertRaises(SystemExit) as ended, contextlib.redirect_stderr(io.StringIO()):
                llama_bench.parse(more)
            self.assertEqual(ended.exception.code, 2)


class SliceTest(unittest.TestCase):
    """Of a small model: every entry and tensor is read back as GGUF's documentation lays them out."""

    SMALL = dict(HIDDEN=64, HEADS=2, Q_LORA=32, KV_LORA=32, NOPE=32, V_HEAD=32, DENSE_INTER=96, MOE_INTER=32)

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "slice.gguf")

    def take(self, layout):
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values if len(values) > 1 else values[0]

    def text(self):
        return self.take(f"{self.take('Q')}s").decode()

    def test_written_and_read(self):
        for weights, block_bytes in (("q4_0", 18), ("q8_0", 34)):
            with self.subTest(weights), mock.patch.multiple(slice_gguf, **self.SMALL):
                path = f"{self.path}.{weights}"
                count = slice_gguf.write(path, 3, 16, 96, weights)
                with open(path, "rb") as file:
                    self.data, self.at = file.read(), 0
                magic, version, tensors, entries = self.take("4sIQQ")
                self.assertEqual((magic, version), (b"GGUF", 3))
                found = {}
                for _ in range(entries):
                    key, kind = self.text(), self.take("I")
                    found[key] = self.text() if kind == 8 else self.take({4: "I", 6: "f", 7: "?"}[kind])
                self.assertEqual(found["general.architecture"], "deepseek2")
                self.assertEqual(found["deepseek2.expert_count"], 16)
                self.assertEqual(found["deepseek2.attention.key_length"], 32 + 64)
                self.assertIs(found["deepseek2.expert_weights_norm"], True)
                weights_read, end, matrices = 0, 0, {}
                for _ in range(tensors):
                    name, rank = self.text(), self.take("I")
                    extents = [self.take("Q") for _ in range(rank)]
                    kind, offset = self.take("IQ")
                    self.assertEqual(offset, end, name)
                    elements = 1
                    for extent in extents:
                        elements *= extent
                    size = elements * 4 if kind == 0 else elements // 32 * {2: 18, 8: 34}[kind]
                    end = (offset + size + 31) // 32 * 32
                    weights_read += elements
                    matrices[name] = offset, size, kind
                self.assertEqual(weights_read, count)
                start = (self.at + 31) // 32 * 32
                self.assertEqual(start + end, len(self.data))
                self.assertIn("blk.0.ffn_down.weight", matrices)
                self.assertIn("blk.2.ffn_down_exps.weight", matrices)
                offset, size, kind = matrices["blk.2.ffn_gate_exps.weight"]
                self.assertEqual(size, 64 * 32 * 16 // 32 * block_bytes)
                block = self.data[start + offset : start + offset + block_bytes]
                self.assertAlmostEqual(struct.unpack("<e", block[:2])[0], 64**-0.5 / slice_gguf.TYPES[weights][3], 4)
                self.assertGreater(len(set(block[2:])), 8)

    def test_nothing_half_written_stays(self):
        with (mock.patch.multiple(slice_gguf, **self.SMALL),
              mock.patch.object(slice_gguf, "blocks", side_effect=KeyboardInterrupt),
              self.assertRaises(KeyboardInterrupt)):
            slice_gguf.write(self.path, 1, 8, 32, "q4_0")
        self.assertFalse(os.path.exists(self.path))

    def test_nothing_is_overwritten(self):
        with open(self.path, "w"):
            pass
        with mock.patch.multiple(slice_gguf, **self.SMALL), self.assertRaises(FileExistsError):
            slice_gguf.write(self.path, 1, 8, 32, "q4_0")


if __name__ == "__main__":
    unittest.main()
