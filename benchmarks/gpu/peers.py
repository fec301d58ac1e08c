"""Peers on this machine: what PyTorch, a Triton kernel of our own, DeepGEMM and FlashMLA take for the cases of cases.py.

    python3 peers.py list                  the cases, one a line
    python3 peers.py calibrate             what this machine can do, as JSON: copies and matrix products by PyTorch
    python3 peers.py serve                 for each name of a case on stdin one line of JSON on stdout

Times are medians by device events, the cache flushed before each call. What is not here is absent with its reason. Only
calibrate and serve want PyTorch and a GPU.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

import cases

DEVICE = "cuda"
RUNS = 30
FLUSHED = 256 << 20  # bytes: several times what a device's cache holds
FP8_MAX = 448.0


class Absent(Exception):
    """A peer is not on this machine, or not for this case."""


def reason(error):
    """One line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:300] if not isinstance(error, Absent) else str(error)


def import_torch():
    try:
        import torch
    except Exception as e:  # also a library that does not load
        raise Absent(f"torch cannot be imported: {reason(e)}") from e
    if not torch.cuda.is_available():
        raise Absent("torch sees no CUDA device")
    return torch


class Clock:
    """Times calls on the device. It is kept busy while the host enqueues, so that launches cost nothing."""

    def __init__(self, torch):
        self.torch = torch
        self.flushed = torch.empty(FLUSHED, dtype=torch.int8, device=DEVICE)

    def microseconds(self, call, runs=RUNS, most=1.0):
        """The median of runs calls; of fewer, at least three, where they would take more than most seconds."""
        torch = self.torch
        for _ in range(2):
            call()
        first = self._times(call, 1)[0]
        runs = max(3, min(runs, int(most * 1e6 / max(first, 1))))
        return statistics.median(self._times(call, runs)), runs

    def _times(self, call, runs):
        torch = self.torch
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(runs)]
        torch.cuda.synchronize()
        for start, end in events:
            self.flushed.zero_()
            torch.cuda._sleep(200_000)  # cycles: about 100 us
            start.record()
            call()
            end.record()
        torch.cuda.synchronize()
        return [start.elapsed_time(end) * 1e3 for start, end in events]


# --- The machine ------------------------------------------------------------------------------------------------------

SMI = "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.draw,power.limit,temperature.gpu,memory.total"


def smi():
    """What nvidia-smi says of the first device now, or why it says nothing."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "--id=0", f"--query-gpu={SMI}", "--format=csv,noheader"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError) as e:
        return {"absent": reason(e)}
    values = [value.strip() for value in done.stdout.split(",")]
    keys = SMI.split(",")
    return dict(zip(keys, values)) if len(values) == len(keys) else {"absent": (done.stdout + done.stderr).strip()[:300]}


def calibrate():
    torch = import_torch()
    device = torch.cuda.get_device_properties(0)
    said = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "device": device.name,
        "compute_capability": f"{device.major}.{device.minor}",
        "multiprocessors": device.multi_processor_count,
        "memory_bytes": device.total_memory,
        "idle": smi(),
    }
    clock = Clock(torch)
    size = min(4 << 30, device.total_memory // 8)
    source = torch.randint(-128, 128, (size,), dtype=torch.int8, device=DEVICE)
    target = torch.empty_like(source)
    us, _ = clock.microseconds(lambda: target.copy_(source), 10)
    said["copy_bytes_per_second"] = 2 * size / us * 1e6
    del source, target
    n = 8192
    a, b = (torch.randn(n, n, device=DEVICE).bfloat16() for _ in range(2))
    c = torch.empty(n, n, device=DEVICE, dtype=torch.bfloat16)
    us, _ = clock.microseconds(lambda: torch.mm(a, b, out=c))
    said["bf16_flops_per_second"] = 2 * n**3 / us * 1e6
    for _ in range(2000):  # two seconds and more: clocks and power under load, read while it lasts
        torch.mm(a, b, out=c)
    said["loaded"] = smi()
    torch.cuda.synchronize()
    try:
        one = torch.ones((), device=DEVICE)
        a8, b8 = a.to(torch.float8_e4m3fn), b.t().contiguous().to(torch.float8_e4m3fn).t()
        us, _ = clock.microseconds(
            lambda: torch._scaled_mm(a8, b8, scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=False))
        said["fp8_flops_per_second"] = 2 * n**3 / us * 1e6
    except Exception as e:
        said["fp8_absent"] = reason(e)
    return said


# --- Peers ------------------------------------------------------------------------------------------------------------


def relative_error(actual, expected):
    """|actual - expected| / |expected| in double; infinite where a value is no number."""
    difference = (actual.double() - expected.double()).norm() / expected.double().norm()
    return float(difference) if bool(actual.isfinite().all()) else float("inf")


class Peer:
    """name; calls: ways to compute it, the first of which works or the fastest; bytes; check(result): its relative error."""

    def __init__(self, name, calls, bytes, check, bound, note=""):
        self.name, self.calls, self.bytes, self.check, self.bound, self.note = name, calls, bytes, check, bound, note

    def measure(self, clock):
        best, failures = None, []
        try:
            for call in self.calls():
                try:
                    error = self.check(call())
                    if not error <= self.bound:
                        failures.append(f"its result is wrong: relative error {error:.2g}")
                        continue
                    us, runs = clock.microseconds(call)
                    if best is None or us < best["us"]:
                        best = {"name": self.name, "us": us, "runs": runs, "bytes": self.bytes, "error": error}
                except Exception as e:
                    failures.append(reason(e))
        except Exception as e:  # before there was a call
            failures.append(reason(e))
        if best is None:
            return {"name": self.name, "absent": "; ".join(failures) or "no way to call it here"}
        if self.note:
            best["note"] = self.note
        return best


def quantize(torch, x, rows):
    """e4m3 codes of x [N, K] with one scale for each block of rows x 128; what the scale multiplies is the code."""
    N, K = x.shape
    blocks = x.float().view(N // rows, rows, K // cases.BLOCK, cases.BLOCK)
    scale = blocks.abs().amax(dim=(1, 3), keepdim=True).clamp(min=1e-4) / FP8_MAX
    codes = (blocks / scale).to(torch.float8_e4m3fn).view(N, K)
    return codes, scale.view(N // rows, K // cases.BLOCK)


def block_scaled(torch, a, a_scale, b, b_scale):
    """Ways to multiply a [M, K] by b [N, K] with scales of 1 x 128 and 128 x 128, by the age of torch, latest first."""
    outer = a_scale.t().contiguous().t()
    # cuBLASLt wants the number of blocks along K to be a multiple of 4.
    padded = torch.nn.functional.pad(b_scale, (0, -b_scale.shape[1] % 4)).t()
    modern = getattr(torch.nn.functional, "scaled_mm", None)
    if modern is not None:
        kind, plain = torch.nn.functional.ScalingType, torch.nn.functional.SwizzleType.NO_SWIZZLE
        yield lambda: modern(
            a, b.t(), outer, kind.BlockWise1x128, padded, kind.BlockWise128x128, swizzle_a=plain, swizzle_b=plain,
            output_dtype=torch.bfloat16, use_fast_accum=False)
    for scale in (padded, b_scale.t()):
        yield lambda scale=scale: torch._scaled_mm(
            a, b.t(), scale_a=outer, scale_b=scale, out_dtype=torch.bfloat16, use_fast_accum=False)


def only(call):
    return lambda: iter([call])


def gemm(torch, given):
    G, M, F, D = given.groups, given.rows, given.F, given.D
    fp8 = given.format.startswith("F8")
    torch.manual_seed(1)
    x = torch.randn(G * M, D, device=DEVICE).bfloat16()
    w = torch.randn(G, F, D, device=DEVICE).bfloat16() / D**0.5
    ends = torch.arange(1, G + 1, device=DEVICE, dtype=torch.int32) * M
    seen = min(M, 64)  # rows of the last group that are checked

    def check(y):
        return relative_error(y[-seen:], x[-seen:].float() @ w[-1].float().t())

    if not fp8:
        bytes = given.bytes(cases.BF16, cases.BF16)
        if G == 1:
            yield Peer("torch.mm bf16", only(lambda: torch.mm(x, w[0].t())), bytes, check, 1e-2)
        grouped = getattr(torch.nn.functional, "grouped_mm", None) or getattr(torch, "_grouped_mm", None)
        if grouped is None:
            yield {"name": "torch._grouped_mm bf16", "absent": f"torch {torch.__version__} has none"}
        else:
            yield Peer(
                "torch._grouped_mm bf16", only(lambda: grouped(x, w.transpose(-2, -1), offs=ends)), bytes, check, 1e-2)
        yield from deep_gemm(torch, given, x, w, check)
        return

    bytes = given.bytes(cases.FP8, cases.BF16)
    x8, x_scale = quantize(torch, x, 1)
    w8, w_scale = quantize(torch, w.view(G * F, D), cases.BLOCK)
    w8, w_scale = w8.view(G, F, D), w_scale.view(G, F // cases.BLOCK, D // cases.BLOCK)
    if G == 1:
        yield Peer(
            "torch._scaled_mm fp8, blocks", lambda: block_scaled(torch, x8, x_scale, w8[0], w_scale[0]), bytes, check, 6e-2)
    else:
        yield rowwise(torch, x, w, ends, bytes, check)
    yield from deep_gemm(torch, given, x, w, check, (x8, x_scale, w8, w_scale))


def rowwise(torch, x, w, ends, bytes, check):
    name = "torch._scaled_grouped_mm fp8, row-wise"

    def calls():
        x_scale = x.float().abs().amax(1) / FP8_MAX
        w_scale = w.float().abs().amax(2) / FP8_MAX
        x8 = (x.float() / x_scale[:, None]).to(torch.float8_e4m3fn)
        w8 = (w.float() / w_scale[:, :, None]).to(torch.float8_e4m3fn)
        yield lambda: torch._scaled_grouped_mm(
            x8, w8.transpose(-2, -1), x_scale, w_scale, offs=ends, out_dtype=torch.bfloat16, use_fast_accum=False)

    return Peer(name, calls, bytes, check, 6e-2, "coarser scales than ours: less work")


def deep_gemm(torch, given, x, w, check, quantized=None):
    """DeepGEMM's contiguous layout pads each group to 128 rows; fewer rows take the masked one."""
    G, M, F, D = given.groups, given.rows, given.F, given.D
    kind = "bf16" if quantized is None else "fp8"
    bytes = given.bytes(cases.BF16, cases.BF16) if quantized is None else given.bytes(cases.FP8, cases.BF16)
    try:
        import deep_gemm as dg
    except Exception as e:
        yield {"name": f"DeepGEMM {kind}", "absent": f"cannot be imported: {reason(e)}"}
        return
    if G > 1 and M % cases.BLOCK == 0:
        layout = torch.arange(G, device=DEVICE, dtype=torch.int32).repeat_interleave(M)
        y = torch.empty(G * M, F, device=DEVICE, dtype=torch.bfloat16)

        def call():
            if quantized is None:
                dg.m_grouped_bf16_gemm_nt_contiguous(x, w, y, layout)
            else:
                x8, x_scale, w8, w_scale = quantized
                dg.m_grouped_fp8_gemm_nt_contiguous((x8, x_scale), (w8, w_scale), y, layout)
            return y

        yield Peer(f"DeepGEMM {kind} contiguous", only(call), bytes, check, 6e-2)
    elif G > 1:
        most = -(-M // cases.BLOCK) * cases.BLOCK  # rows that a group has room for
        count = torch.full((G,), M, device=DEVICE, dtype=torch.int32)
        y = torch.empty(G, most, F, device=DEVICE, dtype=torch.bfloat16)

        def roomy(t):
            padded = torch.zeros(G, most, t.shape[-1], device=DEVICE, dtype=torch.float32)
            padded[:, :M] = t.float().view(G, M, -1)
            return padded.to(t.dtype)

        x_roomy = roomy(x) if quantized is None else (roomy(quantized[0]), roomy(quantized[1]))

        def call():
            if quantized is None:
                dg.m_grouped_bf16_gemm_nt_masked(x_roomy, w, y, count, M)
            else:
                dg.m_grouped_fp8_gemm_nt_masked(x_roomy, (quantized[2], quantized[3]), y, count, M)
            return y[:, :M].reshape(G * M, F)

        yield Peer(f"DeepGEMM {kind} masked", only(call), bytes, check, 6e-2, "with the copy of its rows")
    else:
        y = torch.empty(M, F, device=DEVICE, dtype=torch.bfloat16)

        def call():
            if quantized is None:
                dg.bf16_gemm_nt(x, w[0], y)
            else:
                dg.fp8_gemm_nt((quantized[0], quantized[1]), (quantized[2][0], quantized[3][0]), y)
            return y

        yield Peer(f"DeepGEMM {kind}", only(call), bytes, check, 6e-2)


def mla(torch, given):
    B, H, S, C, X, page = given.batch, given.heads, given.depth, given.C, given.X, given.PAGE
    M = -(-S // page)
    scale = 192**-0.5
    torch.manual_seed(1)
    q = torch.randn(B, H, X, device=DEVICE).bfloat16()
    pages = torch.randn(B * M, page, X, device=DEVICE).bfloat16()
    # As in MlaAttentionBenchmark: a request's pages lie apart.
    table = torch.arange(B * M, device=DEVICE, dtype=torch.int32).view(M, B).t().contiguous()
    length = torch.full((B,), S, device=DEVICE, dtype=torch.int32)
    latents = pages[table.long()].view(B, M * page, X)[:, :S]
    bytes = given.bytes(cases.BF16, cases.BF16)
    last = latents[-1].float()
    expected = torch.softmax(q[-1].float() @ last.t() * scale, -1) @ last[:, :C]

    def check(o):
        return relative_error(o[-1].reshape(H, C), expected)

    def triton_calls():
        import mla_triton

        return mla_triton.calls(q, pages, table, length, scale, torch.cuda.get_device_properties(0).multi_processor_count)

    def bmm():
        score = torch.bmm(q, latents.transpose(1, 2)) * scale
        return torch.bmm(torch.softmax(score, -1), latents[:, :, :C])

    def sdpa():
        k = latents.unsqueeze(1)
        return torch.nn.functional.scaled_dot_product_attention(q.unsqueeze(1), k, k[..., :C], scale=scale)

    yield Peer("Triton split-KV bf16, our own", triton_calls, bytes, check, 2e-2)
    yield Peer("torch SDPA bf16", only(sdpa), bytes, check, 2e-2, "latents gathered before: no pages")
    yield Peer("torch bmm, softmax, bmm bf16", only(bmm), bytes, check, 2e-2, "latents gathered before: no pages")
    yield flash_mla(torch, given, q, pages, table, length, scale, bytes, check)


def flash_mla(torch, given, q, pages, table, length, scale, bytes, check):
    name = "FlashMLA bf16"
    try:
        import flash_mla as library
    except Exception as e:
        return {"name": name, "absent": f"cannot be imported: {reason(e)}"}

    def calls():
        plan, splits = library.get_mla_metadata(length, given.heads, 1)
        yield lambda: library.flash_mla_with_kvcache(
            q.unsqueeze(1), pages.unsqueeze(2), table, length, given.C, plan, splits, softmax_scale=scale, causal=True)[0]

    return Peer(name, calls, bytes, check, 2e-2, "its plan made before, once for all layers")


def route(torch, given):
    E, K, G, kept, best, factor = given.RULES[given.rule]
    T = given.tokens
    torch.manual_seed(1)
    score, bias = torch.rand(T, E, device=DEVICE), torch.rand(E, device=DEVICE)

    def call():
        biased = score + bias
        if kept < G:
            worth = biased.view(T, G, E // G).topk(best, -1).values.sum(-1)
            closed = torch.ones(T, G, dtype=torch.bool, device=DEVICE).scatter_(1, worth.topk(kept, -1).indices, False)
            biased = biased.view(T, G, E // G).masked_fill(closed.unsqueeze(-1), float("-inf")).view(T, E)
        expert = biased.topk(K, -1).indices
        share = score.gather(1, expert)
        share = share / share.sum(-1, keepdim=True) * factor
        order = expert.flatten().argsort(stable=True)
        counts = torch.zeros(E, dtype=torch.int64, device=DEVICE).scatter_add_(
            0, expert.flatten(), torch.ones(T * K, dtype=torch.int64, device=DEVICE))
        return expert, share, counts.cumsum(0), order // K, share.flatten()[order]

    def check(result):
        expert, share, ends, token, weight = result
        fits = int(ends[-1]) == T * K and bool((share.sum(-1) - factor).abs().max() < 1e-3)
        return 0.0 if fits and bool((token.bincount(minlength=T) == K).all()) else float("inf")

    def replay():
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = call()

        def replayed():
            graph.replay()
            return result

        yield replayed

    yield Peer("torch operations", only(call), given.our_bytes(), check, 0, "a launch for each operation")
    yield Peer("torch operations, CUDA graph", replay, given.our_bytes(), check, 0)


FAMILIES = {"gemm": gemm, "mla": mla, "route": route}


def answer(torch, clock, given):
    results = []
    try:
        for peer in FAMILIES[given.family](torch, given):
            results.append(peer if isinstance(peer, dict) else peer.measure(clock))
    except Exception as e:  # out of memory for the inputs, say
        results.append({"name": f"peers of {given.family}", "absent": reason(e)})
    return results


def serve():
    # Libraries print what they like: answers have a channel of their own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        torch = import_torch()
        clock = Clock(torch)
        absent = None
    except Absent as e:
        absent = str(e)
    for line in sys.stdin:
        if absent is not None:
            results = [{"name": "peers by PyTorch", "absent": absent}]
        else:
            results = answer(torch, clock, cases.case(line.strip()))
        answers.write(json.dumps(results) + "\n")
        answers.flush()
        if absent is None:
            # After an illegal access nothing works any more, and this ends the process: the next case takes a new one.
            torch.cuda.synchronize()
            torch.cuda.empty_cache()


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("list", "calibrate", "serve"))
    return parser.parse_args(arguments)


def main(arguments):
    options = parse(arguments)
    if options.what == "list":
        for known in cases.CASES:
            print(known.name)
    elif options.what == "serve":
        serve()
    else:
        try:
            print(json.dumps(calibrate(), indent=1))
        except Absent as e:
            print(json.dumps({"absent": str(e), "idle": smi()}, indent=1))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
