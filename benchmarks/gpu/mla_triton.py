"""Absorbed MLA for one decoded token of each request, in Triton: keys are split, the parts are combined.

Written for comparison, as plainly as Triton allows: pages of any size, bf16 latents, fp32 sums.
"""

import torch
import triton
import triton.language as tl

LOG2_E = 1.4426950408889634

# Heads and keys of a program, warps, stages of the pipeline. Which is fastest, or fits at all, the machine says.
TILES = {"many heads": ((64, 64, 8, 2), (64, 32, 8, 2), (16, 64, 4, 2)), "few": ((16, 64, 4, 2), (16, 32, 4, 2))}


@triton.jit
def attend(q, pages, table, length, part, lse, scale, heads, M, splits, span, C: tl.constexpr, R: tl.constexpr,
           PAGE: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr):
    """One program: ROWS heads of one request over span keys. Exponents are of 2."""
    request, split = tl.program_id(0), tl.program_id(2)
    h = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    c, r = tl.arange(0, C), tl.arange(0, R)
    end = tl.minimum(tl.load(length + request), (split + 1) * span)

    row = (request * heads + h).to(tl.int64)
    q_c = tl.load(q + row[:, None] * (C + R) + c[None, :], mask=h[:, None] < heads, other=0.0)
    q_r = tl.load(q + row[:, None] * (C + R) + C + r[None, :], mask=h[:, None] < heads, other=0.0)
    most = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    o = tl.zeros([ROWS, C], tl.float32)
    for at in range(split * span, end, KEYS):
        s = at + tl.arange(0, KEYS)
        seen = s < end
        page = tl.load(table + request * M + s // PAGE, mask=seen, other=0)
        latent = (page.to(tl.int64) * PAGE + s % PAGE) * (C + R)
        k_c = tl.load(pages + latent[:, None] + c[None, :], mask=seen[:, None], other=0.0)
        k_r = tl.load(pages + latent[:, None] + C + r[None, :], mask=seen[:, None], other=0.0)
        score = (tl.dot(q_c, tl.trans(k_c)) + tl.dot(q_r, tl.trans(k_r))) * scale
        score = tl.where(seen[None, :], score, float("-inf"))
        larger = tl.maximum(most, tl.max(score, 1))
        p = tl.exp2(score - larger[:, None])
        kept = tl.exp2(most - larger)
        total = total * kept + tl.sum(p, 1)
        o = o * kept[:, None] + tl.dot(p.to(k_c.dtype), k_c)
        most = larger

    # A span behind the request's end has no keys: its part weighs nothing.
    none = split * span >= end
    to = row * splits + split
    tl.store(lse + to, tl.where(none, float("-inf"), most + tl.log2(total)), mask=h < heads)
    tl.store(part + to[:, None] * C + c[None, :], o / tl.where(none, 1.0, total)[:, None], mask=h[:, None] < heads)


@triton.jit
def combine(out, part, lse, splits, C: tl.constexpr, SPLITS: tl.constexpr):
    """One program: one head of one request."""
    row = tl.program_id(0).to(tl.int64)
    c, s = tl.arange(0, C), tl.arange(0, SPLITS)
    each = tl.load(lse + row * splits + s, mask=s < splits, other=float("-inf"))
    most = tl.max(each, 0)
    total = tl.sum(tl.exp2(each - most), 0)
    o = tl.zeros([C], tl.float32)
    for i in range(splits):
        share = tl.exp2(tl.load(lse + row * splits + i) - most) / total
        o += share * tl.load(part + (row * splits + i) * C + c)
    tl.store(out + row * C + c, o.to(out.dtype.element_ty))


def calls(q, pages, table, length, scale, multiprocessors):
    """For each tile a call without arguments that returns o [batch, heads, C]; its memory is taken beforehand."""
    batch, heads, X = q.shape
    C, longest = 512, int(length.max())
    for rows, keys, warps, stages in TILES["many heads" if heads >= 64 else "few"]:
        blocks = batch * triton.cdiv(heads, rows)
        # About two programs for each multiprocessor, and no span so short that combining costs more.
        span = max(4 * keys, triton.cdiv(longest, max(1, 2 * multiprocessors // blocks)))
        span = triton.cdiv(span, keys) * keys
        splits = triton.cdiv(longest, span)
        part = torch.empty(batch, heads, splits, C, dtype=torch.float32, device=q.device)
        lse = torch.empty(batch, heads, splits, dtype=torch.float32, device=q.device)
        out = torch.empty(batch, heads, C, dtype=q.dtype, device=q.device)

        def call(rows=rows, keys=keys, warps=warps, stages=stages, span=span, splits=splits, part=part, lse=lse, out=out):
            attend[(batch, triton.cdiv(heads, rows), splits)](
                q, pages, table, length, part, lse, scale * LOG2_E, heads, table.shape[1], splits, span,
                C=C, R=X - C, PAGE=pages.shape[1], ROWS=rows, KEYS=keys, num_warps=warps, num_stages=stages)
            combine[(batch * heads,)](out, part, lse, splits, C=C, SPLITS=triton.next_power_of_2(splits), num_warps=4)
            return out

        yield call
