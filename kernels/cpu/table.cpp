// The table of this instruction set: the only thing that is seen outside of its namespace.
#include "formats.hpp"

namespace panamoe::PANAMOE_ISA {

void rms_norm(const RmsNorm &, int64_t, int64_t);
void gemm(const Gemm &, int64_t, int64_t, void *);
void quantize(Byte *, const float *, int64_t, int32_t);
void gemm_integer(const IntegerGemm &, int64_t, int64_t, void *);
void mla_query(const MlaQuery &, int64_t, int64_t, int64_t, void *);
void latent_append(const LatentAppend &, int64_t, int64_t);
void mla_attention(const MlaAttention &, int64_t, int64_t, int64_t, void *);
void mla_expanded(const MlaExpanded &, int64_t, int64_t, int64_t, void *, const ExpandedMemory &);
void combine(const Combine &, int64_t, int64_t);
void swiglu(float *, const float *, const float *, int64_t);
void add(float *, const float *, int64_t);
void embed(float *, const Matrix &, int64_t);
int32_t argmax(const float *, int64_t);
int32_t read(const Byte *, int64_t);
int64_t multiply_add(int64_t, float *);
int64_t multiply_codes(int64_t, int32_t *);

namespace {

FormatSize format_size(int32_t id) {
    FormatSize size{0, 0, false};
    with_format(id, [&](auto format) {
        using Format = decltype(format);
        size = {Format::bytes(8), Format::kBlock, kInteger<Format>};
    });
    return size;
}

#define PANAMOE_TEXT(name) PANAMOE_QUOTE(name)
#define PANAMOE_QUOTE(name) #name

}  // namespace

extern const Isa kIsa;
const Isa kIsa = {
    .name = PANAMOE_TEXT(PANAMOE_ISA),
    .format_size = format_size,
    .rms_norm = rms_norm,
    .gemm = gemm,
    .quantize = quantize,
    .gemm_integer = gemm_integer,
    .mla_query = mla_query,
    .latent_append = latent_append,
    .mla_attention = mla_attention,
    .mla_expanded = mla_expanded,
    .combine = combine,
    .swiglu = swiglu,
    .add = add,
    .embed = embed,
    .argmax = argmax,
    .read = read,
    .multiply_add = multiply_add,
    .multiply_codes = multiply_codes,
};

}  // namespace panamoe::PANAMOE_ISA
