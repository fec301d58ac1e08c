"""Makes one JSON file and one table of what the stages of run.sh left in a folder.

    python3 report.py PARTS TO

PARTS may lack anything: machine.txt, version.txt, doctor.json, calibration.json, check-NAME.txt, measured.json, and
STAGE.failed, which holds why a stage failed. TO.json and TO.md hold what is there and say what is not.
"""

import glob
import json
import os
import re
import statistics
import sys

import cases
from interleave import write_json


def text(folder, name):
    try:
        with open(os.path.join(folder, name), errors="replace") as f:
            return f.read().strip()
    except OSError:
        return None


def parsed(folder, name):
    """An object of JSON; one that says why there is none."""
    content = text(folder, name)
    if not content:
        return {"absent": text(folder, name.replace(".json", ".failed")) or f"there is no {name}"}
    try:
        return json.loads(content)
    except ValueError as e:
        return {"absent": f"{name} is damaged: {e}"}


COUNT = re.compile(r"\[\s*(\d+) tests (found|skipped|started|aborted|successful|failed)\s*\]")


def check(name, output, failed):
    """What JUnit's console says at its end."""
    counts = {what: int(count) for count, what in COUNT.findall(output or "")}
    found = {"name": name, **counts}
    if failed:
        found["failed_stage"] = failed
    reasons = re.findall(r"^ +=> (.+)$", output or "", re.MULTILINE)
    if reasons:
        found["failures"] = reasons[:20]
    if counts.get("failed", 0) or failed:
        found["verdict"] = "FAILED"
    elif not counts.get("successful", 0):
        found["verdict"] = "skipped"
    else:
        found["verdict"] = "passed"
    return found


def checks(folder):
    names = {re.sub(r"^check-|\.(txt|failed)$", "", os.path.basename(file)) for file in glob.glob(os.path.join(folder, "check-*"))}
    return [
        check(name, text(folder, f"check-{name}.txt"), text(folder, f"check-{name}.failed")) for name in sorted(names)]


def summarize(measured, calibration):
    """One entry for each case and system: the median of its rounds, and its shares of what calibration measured."""
    entries = {}
    for result in measured.get("results", []):
        entries.setdefault((result["case"], result["name"]), []).append(result)
    summary = []
    for (name, system), results in entries.items():
        given = cases.case(name)
        entry = {"case": name, "family": given.family, "name": system, "shape": given.jmh()[1]}
        times = [result["us"] for result in results if "us" in result]
        if not times:
            entry["absent"] = results[-1]["absent"]
        else:
            us = statistics.median(times)
            last = [result for result in results if "us" in result][-1]
            entry.update(
                us=us, rounds_us=times, runs=sum(result["runs"] for result in results if "us" in result),
                gb_per_second=last["bytes"] / us / 1e3, tflops=given.flops() / us / 1e6)
            for key in ("host_us", "error", "note"):
                if key in last:
                    entry[key] = last[key]
            copy = calibration.get("copy_bytes_per_second")
            rate = calibration.get(rate_of(given))
            if copy:
                entry["share_of_copy_bandwidth"] = entry["gb_per_second"] * 1e9 / copy
            if rate and given.family != "route":
                entry["share_of_matrix_rate"] = entry["tflops"] * 1e12 / rate
        summary.append(entry)
    return summary


def rate_of(given):
    """The matrix rate that a case is held against."""
    fp8 = given.family == "gemm" and given.format.startswith("F8")
    return "fp8_flops_per_second" if fp8 else "bf16_flops_per_second"


def collect(folder):
    calibration = parsed(folder, "calibration.json")
    measured = parsed(folder, "measured.json")
    failed = {
        os.path.basename(file)[: -len(".failed")]: text(folder, os.path.basename(file))
        for file in sorted(glob.glob(os.path.join(folder, "*.failed")))}
    return {
        "panamoe": text(folder, "version.txt"),
        "machine": {"nvidia_smi": text(folder, "machine.txt"), "doctor": parsed(folder, "doctor.json")},
        "calibration": calibration,
        "checks": checks(folder),
        "rounds": measured.get("rounds", 0),
        "stopped": measured.get("stopped"),
        "results": summarize(measured, calibration),
        "failed_stages": failed,
        "published": [vars(figure) for figure in cases.PUBLISHED],
    }


# --- The table --------------------------------------------------------------------------------------------------------


def percent(share):
    return "" if share is None else f"{100 * share:.0f} %"


def note(entry):
    host = [f"{entry['host_us']:.1f} us by the host's clock"] if "host_us" in entry else []
    return "; ".join(host + [entry["note"]] if "note" in entry else host)


def row(*cells):
    return "| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in cells) + " |"


def machine_lines(report):
    calibration = report["calibration"]
    yield f"Panamoe: {report['panamoe'] or 'unknown version'}."
    if "absent" in calibration:
        yield f"Nothing was calibrated: {calibration['absent']}. Shares are missing."
    else:
        loaded = calibration.get("loaded", {})
        yield (
            f"Machine: {calibration['device']}, compute capability {calibration['compute_capability']}, "
            f"{calibration['multiprocessors']} multiprocessors; driver {loaded.get('driver_version', 'unknown')}, "
            f"torch {calibration['torch']}; under load {loaded.get('clocks.sm', '?')}, {loaded.get('power.draw', '?')} "
            f"of {loaded.get('power.limit', '?')}.")
        limits = [f"copy {calibration['copy_bytes_per_second'] / 1e12:.2f} TB/s (read and written)"]
        limits.append(f"8192^3 bf16 {calibration['bf16_flops_per_second'] / 1e12:.0f} TFLOP/s")
        if "fp8_flops_per_second" in calibration:
            limits.append(f"8192^3 fp8 {calibration['fp8_flops_per_second'] / 1e12:.0f} TFLOP/s")
        yield f"Limits measured in this run: {'; '.join(limits)}."


def table(report):
    lines = ["# Kernels on a GPU", "", *machine_lines(report), "", "## Checks", ""]
    if report["checks"]:
        lines += [row("check", "verdict", "passed", "failed", "aborted"), row("---", "---", "---", "---", "---")]
        for found in report["checks"]:
            lines.append(
                row(found["name"], found["verdict"], *(found.get(what, "") for what in ("successful", "failed", "aborted"))))
    else:
        lines.append("None was run.")
    for stage, reason in report["failed_stages"].items():
        lines += ["", f"Stage {stage} failed: {reason}"]
    lines += ["", "## Measured here", ""]
    if report["results"]:
        lines += [
            f"Medians of {report['rounds']} whole rounds, ours and the peers in turn, cache flushed before each call; each "
            "system's own bytes; operations of real rows only.", "",
            row("case", "system", "us", "GB/s", "of copy", "TFLOP/s", "of matrix", ""),
            row("---", "---", "---:", "---:", "---:", "---:", "---:", "---")]
        for entry in report["results"]:
            if "absent" in entry:
                lines.append(row(entry["case"], entry["name"], "", "", "", "", "", f"absent: {entry['absent']}"))
            else:
                lines.append(
                    row(
                        entry["case"], entry["name"], f"{entry['us']:.1f}", f"{entry['gb_per_second']:.0f}",
                        percent(entry.get("share_of_copy_bandwidth")), f"{entry['tflops']:.1f}",
                        percent(entry.get("share_of_matrix_rate")), note(entry)))
    else:
        lines.append("Nothing was measured.")
    lines += [
        "", "## Published elsewhere", "",
        "By others, on their machines: not measured here, not to be compared number by number.", "",
        row("case", "system", "machine", "figure", "source"), row("---", "---", "---", "---", "---")]
    lines += [row(*figure.values()) for figure in report["published"]]
    return "\n".join(lines) + "\n"


def main(arguments):
    if len(arguments) != 2:
        sys.exit(__doc__)
    folder, to = arguments
    report = collect(folder)
    write_json(f"{to}.json", report)
    with open(f"{to}.md", "w") as f:
        f.write(table(report))


if __name__ == "__main__":
    main(sys.argv[1:])
