"""What is measured on a GPU: the cases, the work that each has to do, and what others published for it.

A case is the same mathematics for everybody. Bytes differ, because systems keep their numbers in other types: each result
is held against its own bytes, and floating-point operations are those of real rows only.
"""

from dataclasses import dataclass

FLOAT, BF16, FP8 = 4, 2, 1  # bytes of one number
BLOCK = 128  # of a weight's rows and columns with one scale, and of an activation's channels


@dataclass(frozen=True)
class Gemm:
    """groups experts [F, D], each with rows rows; one group is a dense product."""

    format: str  # a name of QuantFormat.java
    groups: int
    rows: int
    F: int
    D: int

    family = "gemm"

    @property
    def name(self):
        return f"gemm {self.format} {self.groups} x {self.rows}, {self.F}, {self.D}"

    def jmh(self, tensor=False):
        return "GroupedGemmBenchmark.groupedGemm", {
            "format": self.format,
            "experts": self.groups,
            "rows": self.rows,
            "expert": f"{self.F}x{self.D}",
        }

    def flops(self):
        return 2 * self.groups * self.rows * self.F * self.D

    def bytes(self, x, y):
        """Weights as stored with their scales, x and y of so many bytes a number; scales of an FP8 x, too."""
        scaled = self.format.startswith("F8")
        weights = self.groups * self.F * self.D * (FP8 if scaled else BF16)
        if scaled:
            weights += self.groups * -(-self.F // BLOCK) * -(-self.D // BLOCK) * FLOAT
        rows = self.groups * self.rows
        scales = rows * (self.D // BLOCK) * FLOAT if x == FP8 else 0
        return weights + rows * (self.D * x + self.F * y) + scales

    def our_bytes(self, tensor=False):
        return self.bytes(FLOAT, FLOAT)


@dataclass(frozen=True)
class Mla:
    """One token of each of batch requests attends to depth latents of 512 + 64 numbers."""

    heads: int
    batch: int
    depth: int

    family = "mla"
    C = 512
    X = 576
    PAGE = 64

    @property
    def name(self):
        return f"mla {self.heads} heads, {self.batch} x {self.depth}"

    def jmh(self, tensor=False):
        """The tensor kernel is for a cache in bf16."""
        return "MlaAttentionBenchmark.mlaAttention", {
            "heads": self.heads,
            "batch": self.batch,
            "depth": self.depth,
            "cache": "BF16" if tensor else "F32",
        }

    def flops(self):
        return 2 * self.batch * self.heads * self.depth * (self.X + self.C)

    def bytes(self, latent, activation):
        return self.batch * (self.depth * self.X * latent + self.heads * (self.X + self.C) * activation)

    def our_bytes(self, tensor=False):
        return self.bytes(BF16 if tensor else FLOAT, FLOAT)


@dataclass(frozen=True)
class Route:
    """Experts of each token, and the routed rows sorted by expert."""

    rule: str
    tokens: int

    family = "route"
    # experts, chosen, groups, kept groups, best of a group, factor; as in RouteBenchmark.java
    RULES = {"V3": (256, 8, 8, 4, 2, 2.5), "KIMI_K2": (384, 8, 1, 1, 2, 2.827)}

    @property
    def name(self):
        return f"route {self.rule}, {self.tokens} tokens"

    def jmh(self, tensor=False):
        return "RouteBenchmark.route", {"rule": self.rule, "tokens": self.tokens}

    def flops(self):
        E, K = self.RULES[self.rule][:2]
        return self.tokens * (E + 3 * K)

    def our_bytes(self, tensor=False):
        E, K = self.RULES[self.rule][:2]
        return 4 * (self.tokens * E + E + 4 * self.tokens * K + E + 1)


FORMATS = ("F8_E4M3_B128", "BF16")

# In the order of what is worth most, should time run out.
CASES = [
    *(Gemm(format, *shape) for shape in ((32, 20, 6144, 7168), (4, 8192, 4096, 7168)) for format in FORMATS),
    Mla(128, 128, 4096),
    Mla(64, 128, 4096),
    Mla(16, 128, 1024),
    Route("V3", 256),
    *(Gemm(format, *shape) for shape in ((8, 1, 2048, 7168), (1, 4096, 7168, 16384)) for format in FORMATS),
    Mla(128, 1, 16384),
    Mla(16, 128, 4096),
    Route("V3", 4096),
    Route("KIMI_K2", 256),
    *(Gemm(format, *shape) for shape in ((8, 4096, 7168, 2048), (1, 64, 7168, 16384)) for format in FORMATS),
    Mla(128, 32, 4096),
    Mla(64, 1, 16384),
    Route("V3", 1),
    Route("KIMI_K2", 4096),
    *(Gemm(format, *shape) for shape in ((32, 20, 7168, 3072), (1, 128, 24576, 1536)) for format in FORMATS),
]


def case(name):
    for known in CASES:
        if known.name == name:
            return known
    raise ValueError(f"there is no case {name!r}")


@dataclass(frozen=True)
class Published:
    """A figure that its authors, or a third party, published for a case: on their machine, never on this one."""

    case: str
    system: str
    machine: str
    figure: str
    source: str


DEEPGEMM = "DeepGEMM's README of April 2025 (commit 327ec92)"
ACHATBOT = "a third party: ai-bot-pro/achatbot, pull request 123"
VLLM = "vLLM, pull request 27363"

PUBLISHED = [
    Published(Gemm("F8_E4M3_B128", 4, 8192, 4096, 7168).name, "DeepGEMM", "H800", "1346 TFLOP/s (padded rows counted)", DEEPGEMM),
    Published(Gemm("F8_E4M3_B128", 8, 4096, 7168, 2048).name, "DeepGEMM", "H800", "1214 TFLOP/s (padded rows counted)", DEEPGEMM),
    Published(Gemm("F8_E4M3_B128", 1, 4096, 7168, 16384).name, "DeepGEMM", "H800", "1520 TFLOP/s", DEEPGEMM),
    Published(Gemm("F8_E4M3_B128", 1, 64, 7168, 16384).name, "DeepGEMM", "H800", "336 TFLOP/s, 2668 GB/s", DEEPGEMM),
    Published(Mla(128, 128, 4096).name, "FlashMLA", "H800", "660 TFLOP/s at best, combine not counted", "FlashMLA's README"),
    Published(Mla(64, 128, 4096).name, "FlashMLA", "H100", "328 TFLOP/s, 2789 GB/s", ACHATBOT),
    Published(Mla(16, 128, 4096).name, "FlashMLA", "H100", "2826 GB/s", ACHATBOT),
    Published(Mla(16, 128, 1024).name, "FlashAttention-3", "Hopper", "71 us", VLLM),
    Published(Mla(16, 128, 1024).name, "FlashMLA", "Hopper", "84 us", VLLM),
    Published(Route("V3", 256).name, "Triton, fused", "not said", "18 us by the host's clock", "tokenspeed, pull request 171"),
]
