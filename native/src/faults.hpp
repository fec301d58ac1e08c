// What a kernel found wrong in its index arrays. They lie on the device, so only a kernel can look at them: it notes
// the first bad value, leaves that row out, and the next call that waits for the device reports it.
#pragma once

#include <cstdint>

namespace panamoe {

enum class BadIndex : int32_t {
    append_page,
    append_position,
    append_position_of_rope,
    append_request,
    attention_page,
    attention_position,
    attention_request,
    combine_token,
    embed_token,
    expert_scale,
    expert_weight,
    gather_token,
    offset_first,
    offset_last,
    offset_order,
    query_position,
};

// In the device's memory, one for each context.
struct Fault {
    uint32_t taken;  // whoever changes it from 0 to 1 fills in the rest
    BadIndex what;
    int64_t number[5];  // what the text's conversions stand for; those it lacks are 0
};

// printf's format for 5 numbers of long long.
inline const char *fault_text(BadIndex what) {
    switch (what) {
        case BadIndex::append_page: return "latent_append: table_AM[%lld][%lld] is %lld, page_count is %lld";
        case BadIndex::append_position: return "latent_append: position_T[%lld] is %lld, M * B is %lld";
        case BadIndex::append_position_of_rope: return "latent_append: position_T[%lld] is %lld, S is %lld";
        case BadIndex::append_request: return "latent_append: request_T[%lld] is %lld, A is %lld";
        case BadIndex::attention_page: return "mla_attention: table_AM[%lld][%lld] is %lld, page_count is %lld";
        case BadIndex::attention_position: return "mla_attention: position_T[%lld] is %lld, M * B is %lld";
        case BadIndex::attention_request: return "mla_attention: request_T[%lld] is %lld, A is %lld";
        case BadIndex::combine_token: return "combine: token_N[%lld] is %lld, T is %lld";
        case BadIndex::embed_token: return "embed: token_T[%lld] is %lld, V is %lld";
        case BadIndex::expert_scale: return "grouped_gemm: scale_E[%lld] is NULL and has %lld rows";
        case BadIndex::expert_weight: return "grouped_gemm: w_E[%lld] is NULL and has %lld rows";
        case BadIndex::gather_token: return "gather: token_N[%lld] is %lld, T is %lld";
        case BadIndex::offset_first: return "grouped_gemm: offset_E1[0] is %lld, must be 0";
        case BadIndex::offset_last: return "grouped_gemm: offset_E1[%lld] is %lld, N is %lld";
        case BadIndex::offset_order: return "grouped_gemm: offset_E1[%lld] is %lld, offset_E1[%lld] is %lld, N is %lld";
        case BadIndex::query_position: return "mla_query: position_T[%lld] is %lld, S is %lld";
    }
    return "a kernel left a note that cannot be read";
}

}  // namespace panamoe
