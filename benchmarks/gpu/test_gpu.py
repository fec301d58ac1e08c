"""What can be tested without a GPU and without PyTorch: python3 -m unittest discover benchmarks/gpu"""

import contextlib
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import types
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import cases  # noqa: E402
import interleave  # noqa: E402
import peers  # noqa: E402
import report  # noqa: E402

# Calls in a microsecond, and seconds of the device in one: the calls take 4, 5, 8 us, the device 2, 4, 6 of them.
JMH = """[{"primaryMetric": {"rawData": [[0.25, 0.2, 0.125]]},
 "secondaryMetrics": {"deviceSeconds": {"rawData": [[0.5e-6, 0.8e-6, 0.75e-6]]}}}]"""

# What stands for the bundle's program: JMH's file, JUnit's summary, and a back end that is not there.
PANAMOE = f"""#!/bin/sh
case $1 in
--version) echo panamoe 1.2.3 ;;
doctor) echo '{{"cpu": "one"}}' ;;
test)
    echo '[         7 tests successful      ]'
    echo '[         0 tests failed          ]'
    ;;
jmh)
    while [ "$1" != -rff ]; do shift; done
    case $* in
    *backend=none*) echo 'java.lang.IllegalStateException: back end none: there is no library'; exit 0 ;;
    esac
    echo '{JMH}' >"$2"
    ;;
esac
"""


OURS = ("panamoe cuda math=tensor", "panamoe cuda math=exact")


class Folder(unittest.TestCase):
    """Each test has a folder, and no torch in it or anywhere."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.write("torch.py", "raise ImportError('none on this machine')")
        self.panamoe = self.write("panamoe", PANAMOE)
        os.chmod(self.panamoe, stat.S_IRWXU)
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = self.folder
        quiet = contextlib.redirect_stderr(io.StringIO())
        quiet.__enter__()
        self.addCleanup(quiet.__exit__, None, None, None)
        self.addCleanup(lambda: os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before))

    def write(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(content)
        return path

    def peers(self, *arguments, **more):
        return subprocess.run(
            [sys.executable, os.path.join(HERE, "peers.py"), *arguments], capture_output=True, text=True, **more)


class CasesTest(unittest.TestCase):
    def test_names_are_unique_and_found(self):
        names = [given.name for given in cases.CASES]
        self.assertEqual(len(names), len(set(names)))
        for given in cases.CASES:
            self.assertIs(cases.case(given.name), given)
        with self.assertRaisesRegex(ValueError, "there is no case 'gemm'"):
            cases.case("gemm")

    def test_every_family_has_peers_and_a_benchmark(self):
        self.assertEqual({given.family for given in cases.CASES}, set(peers.FAMILIES))
        java = os.path.join(HERE, "../src/main/java/org/panamoe/benchmarks")
        if not os.path.isdir(java):
            self.skipTest("the sources are not here")
        for given in cases.CASES:
            benchmark, params = given.jmh()
            name, method = benchmark.split(".")
            with open(os.path.join(java, name + ".java")) as f:
                source = f.read()
            self.assertIn(f"public void {method}(Rates", source)
            for key in params:
                self.assertRegex(source, rf"public \w+ {key} =", benchmark)

    def test_work_is_what_the_java_benchmarks_count(self):
        # The same sizes and sums as in GroupedGemmBenchmarkTest, MlaAttentionBenchmarkTest, RouteBenchmarkTest.
        activations = 16 * (256 + 128) * 4
        self.assertEqual(cases.Gemm("BF16", 8, 2, 256, 128).our_bytes(), 8 * 256 * 128 * 2 + activations)
        self.assertEqual(cases.Gemm("F8_E4M3_B128", 8, 2, 256, 128).our_bytes(), 8 * (256 * 128 + 2 * 4) + activations)
        self.assertEqual(cases.Gemm("BF16", 8, 2, 256, 128).flops(), 2 * 16 * 256 * 128)
        self.assertEqual(cases.Mla(3, 2, 130).our_bytes(), 4 * (2 * 130 * 576 + 2 * 3 * (576 + 512)))
        self.assertEqual(cases.Mla(3, 2, 130).flops(), 2 * 2 * 3 * 130 * (576 + 512))
        self.assertEqual(cases.Route("V3", 5).our_bytes(), 4 * (5 * 256 + 256 + 4 * 5 * 8 + 257))
        self.assertEqual(cases.Route("V3", 5).flops(), 5 * (256 + 3 * 8))

    def test_an_fp8_activation_has_scales(self):
        given = cases.Gemm("F8_E4M3_B128", 1, 2, 128, 256)
        self.assertEqual(given.bytes(cases.FP8, cases.BF16), 128 * 256 + 2 * 4 + 2 * (256 + 128 * 2) + 2 * 2 * 4)

    def test_published_figures_belong_to_cases(self):
        names = {given.name for given in cases.CASES}
        for figure in cases.PUBLISHED:
            self.assertIn(figure.case, names)
            self.assertTrue(figure.machine and figure.source)


class PeersTest(Folder):
    def test_lists_cases(self):
        self.assertEqual(self.peers("list").stdout.splitlines(), [given.name for given in cases.CASES])

    def test_refuses_what_it_does_not_know(self):
        with self.assertRaises(SystemExit):
            peers.parse(["measure"])

    def test_calibrates_nothing_without_torch(self):
        done = self.peers("calibrate")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(
            json.loads(done.stdout)["absent"], "torch cannot be imported: ImportError: none on this machine")

    def test_answers_each_case_without_torch(self):
        done = self.peers("serve", input="".join(given.name + "\n" for given in cases.CASES[:2]))
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        absent = {"name": "peers by PyTorch", "absent": "torch cannot be imported: ImportError: none on this machine"}
        self.assertEqual(answers, [[absent], [absent]])

    def test_the_fastest_way_that_is_right_counts(self):
        results = {"slow": 9.0, "fast": 5.0, "wrong": 1.0}

        def broken():
            raise RuntimeError("no such kernel\nand a long story")

        ways = [broken] + [lambda name=name: name for name in results]
        clock = types.SimpleNamespace(microseconds=lambda call: (results[call()], 30))
        peer = peers.Peer("peer", lambda: iter(ways), 8, lambda result: 1.0 if result == "wrong" else 0.0, 1e-2, "a note")
        found = peer.measure(clock)
        self.assertEqual(found, {"name": "peer", "us": 5.0, "runs": 30, "bytes": 8, "error": 0.0, "note": "a note"})
        peer.calls = lambda: iter([ways[0], ways[-1]])
        self.assertEqual(
            peer.measure(clock),
            {"name": "peer", "absent": "RuntimeError: no such kernel; its result is wrong: relative error 1"})

    def test_the_reason_of_a_library_that_does_not_load_is_kept(self):
        def calls():
            raise OSError("libcublas.so is missing")
            yield

        self.assertEqual(
            peers.Peer("peer", calls, 8, None, 0).measure(None), {"name": "peer", "absent": "OSError: libcublas.so is missing"})


class InterleaveTest(Folder):
    def options(self, *more):
        return interleave.parse(["--panamoe", self.panamoe, "--to", os.path.join(self.folder, "measured.json"), *more])

    def test_times_are_medians_of_the_iterations(self):
        host_us, device_us, runs = interleave.times(json.loads(JMH)[0])
        self.assertAlmostEqual(host_us, 5)
        self.assertAlmostEqual(device_us, 4)
        self.assertEqual(runs, 3)
        with self.assertRaises(ValueError):
            interleave.times(
                {"primaryMetric": {"rawData": [[]]}, "secondaryMetrics": {"deviceSeconds": {"rawData": [[]]}}})

    def test_ours_and_peers_alternate_in_every_round(self):
        known = [cases.Mla(16, 128, 1024), cases.Route("V3", 1)]
        written = []
        measured = interleave.measure(self.options("--rounds", "2"), known, lambda m: written.append(len(m["results"])))
        order = [(result["round"], result["case"], result["name"]) for result in measured["results"]]
        once = [(given.name, name) for given in known for name in OURS + ("peers by PyTorch",)]
        self.assertEqual(order, [(r, *pair) for r in (1, 2) for pair in once])
        self.assertEqual(written, [3, 6, 9, 12, 12])
        tensor, exact, absent = measured["results"][:3]
        self.assertAlmostEqual(tensor["us"], 4)
        self.assertAlmostEqual(tensor["host_us"], 5)
        self.assertEqual(tensor["bytes"], known[0].our_bytes(tensor=True))
        self.assertEqual(exact["bytes"], known[0].our_bytes())
        self.assertIn("torch cannot be imported", absent["absent"])

    def test_an_absent_back_end_says_why(self):
        found = interleave.ours(self.panamoe, "none", "", cases.CASES[0], time.monotonic() + 20)
        self.assertEqual(found, {"name": "panamoe none", "absent": "back end none: there is no library"})
        found = interleave.ours(self.folder + "/nothing", "cuda", "", cases.CASES[0], time.monotonic() + 20)
        self.assertIn("No such file", found["absent"])

    def test_stops_in_time_and_keeps_what_it_has(self):
        measured = interleave.measure(self.options("--seconds", "0"), cases.CASES, lambda m: None)
        self.assertEqual(measured["results"], [])
        self.assertIn("time was up before", measured["stopped"])

    def test_peers_that_die_or_hang_are_replaced(self):
        dies = interleave.Peers([sys.executable, "-c", "input()"])
        hangs = interleave.Peers([sys.executable, "-c", "import time; time.sleep(60)"])
        for asked in (dies, hangs):
            self.addCleanup(asked.close)
        now = time.monotonic()
        self.assertIn("ended with exit code 0", dies.ask("a case", now + 20)[0]["absent"])
        self.assertIsNone(dies.process)
        self.assertIn("ended with exit code 0", dies.ask("a case", now + 20)[0]["absent"])
        self.assertIn("no answer in time", hangs.ask("a case", time.monotonic() + 0.2)[0]["absent"])

    def test_the_command_writes_its_file(self):
        interleave.main(
            ["--panamoe", self.panamoe, "--to", os.path.join(self.folder, "m.json"), "--only", "route V3, 1 tokens",
             "--rounds", "1"])
        with open(os.path.join(self.folder, "m.json")) as f:
            measured = json.load(f)
        self.assertEqual(len(measured["results"]), 3)


CALIBRATION = {
    "torch": "2.x", "device": "some GPU", "compute_capability": "9.0", "multiprocessors": 132,
    "loaded": {"driver_version": "580", "clocks.sm": "1400 MHz", "power.draw": "690 W", "power.limit": "700 W"},
    "copy_bytes_per_second": 4e12, "bf16_flops_per_second": 8e14,
}


class ReportTest(Folder):
    def test_an_empty_folder_makes_a_report_that_says_so(self):
        found = report.collect(self.folder)
        self.assertEqual(found["calibration"], {"absent": "there is no calibration.json"})
        table = report.table(found)
        for said in ("Nothing was calibrated", "None was run.", "Nothing was measured.", "Published elsewhere"):
            self.assertIn(said, table)
        self.assertIn("| FlashMLA | H800 | 660 TFLOP/s", table)

    def test_medians_and_shares(self):
        given = cases.Gemm("BF16", 1, 64, 7168, 16384)
        bytes, us = given.our_bytes(), 100.0
        results = [
            {"case": given.name, "round": r, "name": "panamoe cuda", "us": time, "runs": 30, "bytes": bytes}
            for r, time in ((1, 90.0), (2, us), (3, 130.0))]
        results.append({"case": given.name, "round": 1, "name": "DeepGEMM bf16", "absent": "cannot be imported"})
        ours, other = report.summarize({"results": results}, CALIBRATION)
        self.assertEqual(ours["us"], us)
        self.assertEqual(ours["runs"], 90)
        self.assertAlmostEqual(ours["gb_per_second"], bytes / us / 1e3)
        self.assertAlmostEqual(ours["share_of_copy_bandwidth"], bytes / (us * 1e-6) / 4e12)
        self.assertAlmostEqual(ours["share_of_matrix_rate"], given.flops() / (us * 1e-6) / 8e14)
        self.assertEqual(other["absent"], "cannot be imported")

    def test_fp8_is_held_against_an_fp8_rate_or_none(self):
        given = cases.Gemm("F8_E4M3_B128", 1, 64, 7168, 16384)
        result = {"case": given.name, "round": 1, "name": "x", "us": 1.0, "runs": 1, "bytes": 1}
        self.assertNotIn("share_of_matrix_rate", report.summarize({"results": [result]}, CALIBRATION)[0])
        with_rate = {**CALIBRATION, "fp8_flops_per_second": 1e15}
        self.assertIn("share_of_matrix_rate", report.summarize({"results": [result]}, with_rate)[0])

    def test_checks(self):
        self.write("check-kernels.txt", "[        12 tests successful      ]\n[         0 tests failed          ]\n")
        self.write("check-twins.txt", "Failures (1):\n    => there: row 3\n[ 12 tests successful ]\n[         1 tests failed          ]\n")
        self.write("check-units.txt", "[        12 tests aborted         ]\n[         0 tests successful      ]\n")
        self.write("check-slow.txt", "")
        self.write("check-slow.failed", "it took more than 60 s")
        verdicts = {found["name"]: found for found in report.collect(self.folder)["checks"]}
        self.assertEqual(
            {name: found["verdict"] for name, found in verdicts.items()},
            {"kernels": "passed", "twins": "FAILED", "units": "skipped", "slow": "FAILED"})
        self.assertEqual(verdicts["twins"]["failures"], ["there: row 3"])

    def test_every_row_of_a_table_has_as_many_cells_as_its_head(self):
        given = cases.CASES[0]
        self.write("calibration.json", json.dumps(CALIBRATION))
        self.write("check-kernels.txt", "[ 12 tests successful ]\n[ 0 tests failed ]\n")
        result = {"case": given.name, "round": 1, "name": "a|b", "us": 1.5, "runs": 1, "bytes": 10}
        absent = {"case": given.name, "round": 1, "name": "c", "absent": "no\nlibrary"}
        self.write("measured.json", json.dumps({"rounds": 1, "results": [result, absent]}))
        report.main([self.folder, os.path.join(self.folder, "gpu")])
        with open(os.path.join(self.folder, "gpu.md")) as f:
            lines = f.read().splitlines()
        cells = None
        for line in lines:
            if not line.startswith("|"):
                cells = None
                continue
            cells = cells or line.count("|")
            self.assertEqual(line.count("|"), cells, line)
        self.assertIn("absent: no library", "\n".join(lines))
        with open(os.path.join(self.folder, "gpu.json")) as f:
            self.assertEqual(json.load(f)["results"][0]["us"], 1.5)


class RunTest(Folder):
    """The whole script, on a machine that has neither a GPU nor PyTorch."""

    def test_what_fails_is_told_and_the_rest_is_there(self):
        bundle = os.path.join(self.folder, "panamoe-1.2.3-linux-x86_64.tar.xz")
        with tarfile.open(bundle, "w:xz") as archive:
            archive.add(self.panamoe, "panamoe-1.2.3-linux-x86_64/panamoe")
        out = os.path.join(self.folder, "out")
        done = subprocess.run(
            [os.path.join(HERE, "run.sh"), bundle, out], capture_output=True, text=True, timeout=300,
            env={**os.environ, "PANAMOE_SECONDS": "60", "PANAMOE_PYTHON": sys.executable})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        with open(os.path.join(out, "gpu.json")) as f:
            found = json.load(f)
        self.assertEqual(found["panamoe"], "panamoe 1.2.3")
        self.assertEqual(found["machine"]["doctor"], {"cpu": "one"})
        self.assertIn("torch cannot be imported", found["calibration"]["absent"])
        self.assertEqual([check["verdict"] for check in found["checks"]], ["passed"] * 3)
        self.assertEqual({round(entry["us"], 6) for entry in found["results"] if entry["name"] in OURS}, {4})
        self.assertIn("calibration", found["failed_stages"])
        self.assertEqual(sorted(os.listdir(out)), ["gpu.json", "gpu.md", "log.txt"])


if __name__ == "__main__":
    unittest.main()
