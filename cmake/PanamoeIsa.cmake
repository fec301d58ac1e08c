# panamoe_isa(<isa> LANES <n> FLAGS <flags>...)
# Compiles the kernels once more for one instruction set, in namespace panamoe::<isa>; link
# $<TARGET_OBJECTS:panamoe_<isa>>. No exceptions, no run-time types, no guards: nothing that the standard library would
# put into these objects as weak symbols, which the linker may then use on a CPU that cannot run them. The test
# isa_symbols_<isa> keeps it so.
#
# -ffp-contract=off: the compiler fuses nothing by itself; vector.hpp says where a multiply-add is.
function(panamoe_isa isa)
  cmake_parse_arguments(ARG "" "LANES" "FLAGS" ${ARGN})
  add_library(panamoe_${isa} OBJECT ${PANAMOE_KERNELS})
  target_include_directories(panamoe_${isa} PRIVATE ${PANAMOE_ROOT}/native/include)
  target_compile_definitions(panamoe_${isa} PRIVATE PANAMOE_ISA=${isa} PANAMOE_LANES=${ARG_LANES})
  target_compile_options(panamoe_${isa} PRIVATE ${PANAMOE_WARNINGS}
    -ffp-contract=off -fno-math-errno -fno-exceptions -fno-rtti -fno-threadsafe-statics -fno-asynchronous-unwind-tables
    $<$<CONFIG:Release>:-O3> ${ARG_FLAGS}
    # What these two find, the address sanitizer finds as well; they cost the compiler more than all others.
    $<$<CONFIG:Debug>:-fno-sanitize=null,object-size>
    -Wno-psabi)  # vectors are passed to inlined functions only
endfunction()

# GCC would put off additions until a sum is used, and keep all products in memory until then.
set_source_files_properties(${PANAMOE_ROOT}/kernels/cpu/gemm_integer.cpp PROPERTIES
  COMPILE_OPTIONS $<$<CXX_COMPILER_ID:GNU>:-fno-tree-ter>)

# What <isa>'s objects may define and use, checked with nm.
function(panamoe_test_isa_symbols isa)
  add_test(NAME isa_symbols_${isa}
    COMMAND ${CMAKE_COMMAND} -DNM=${CMAKE_NM} -DISA=${isa} "-DOBJECTS=$<TARGET_OBJECTS:panamoe_${isa}>"
      -P ${PANAMOE_ROOT}/native/tests/isa_symbols.cmake)
endfunction()
