# The CUDA back end: one list of sources, two libraries. libpanamoe_cudaemu is what the host compiler makes of them, with
# the emulator as its device; libpanamoe_cuda is what nvcc makes of them, and is skipped where there is no nvcc, or with
# -DPANAMOE_SKIP_CUDA=ON.

# kernels/cuda/<function>.cu, and what both libraries need of native/src.
set(PANAMOE_CUDA add.cu argmax.cu combine.cu embed.cu gather.cu gemm.cu grouped_combine.cu
    grouped_gemm.cu grouped_swiglu.cu latent_append.cu measure.cu mla_attention.cu mla_expanded.cu mla_output.cu
    mla_query.cu rms_norm.cu route.cu score.cu swiglu.cu tensor_gemm.cu)
set(PANAMOE_CUDA_CONTEXT cuda_context.cpp contexts.cpp)
list(TRANSFORM PANAMOE_CUDA PREPEND ${PANAMOE_ROOT}/kernels/cuda/)
list(TRANSFORM PANAMOE_CUDA_CONTEXT PREPEND ${PANAMOE_ROOT}/native/src/)

set(PANAMOE_CUDA_ARCHITECTURES
  arch=compute_80,code=[sm_80,compute_80] arch=compute_90a,code=sm_90a
  CACHE STRING "what libpanamoe_cuda is built for: nvcc's --generate-code")

set(cuda_includes ${PANAMOE_ROOT}/native/include ${PANAMOE_ROOT}/native/src ${PANAMOE_ROOT}/kernels/cuda)

# ---- The emulator ----

set(emulator ${PANAMOE_ROOT}/kernels/cuda/emulator)

# panamoe_emulated(<target>): compiles the target's sources, .cu or .cpp, as C++ for the emulator.
function(panamoe_emulated target)
  get_target_property(sources ${target} SOURCES)
  list(FILTER sources INCLUDE REGEX "[.]cu$")
  set_source_files_properties(${sources} PROPERTIES LANGUAGE CXX)
  target_include_directories(${target} PRIVATE ${emulator}/include ${cuda_includes})
  target_compile_definitions(${target} PRIVATE PANAMOE_EMULATOR)
  # As nvcc's --fmad=false: the sources say where they fuse.
  target_compile_options(${target} PRIVATE ${PANAMOE_WARNINGS} -ffp-contract=off -Wno-unknown-pragmas
    -Wno-psabi)  # tensor maps, by value, are aligned to 64 bytes
endfunction()

set(emulator_sources asynchronous.cpp copies.cpp emulator.cpp fiber.cpp matrix_unit.cpp runtime.cpp)
list(TRANSFORM emulator_sources PREPEND ${emulator}/)
add_library(panamoe_emulator OBJECT ${emulator_sources})
panamoe_emulated(panamoe_emulator)
set_source_files_properties(${emulator}/matrix_unit.cpp PROPERTIES COMPILE_OPTIONS $<$<CONFIG:Release>:-O3>)  # vectors

add_executable(emulator_test ${tests}/emulator_test.cpp $<TARGET_OBJECTS:panamoe_emulator>)
panamoe_emulated(emulator_test)
target_link_libraries(emulator_test PRIVATE Threads::Threads)
foreach(test pipeline pipeline_bugs barriers products copies matrices warps schedules launches memory numbers)
  add_test(NAME emulator_${test} COMMAND emulator_test ${test})
endforeach()

add_library(panamoe_emulated OBJECT ${PANAMOE_CUDA} ${PANAMOE_CUDA_CONTEXT})
panamoe_emulated(panamoe_emulated)
panamoe_library(panamoe_cudaemu $<TARGET_OBJECTS:panamoe_emulated> $<TARGET_OBJECTS:panamoe_emulator>)
panamoe_jar_copy(panamoe_jar_copy_cudaemu panamoe_cudaemu)
panamoe_library_symbols(library_symbols_cudaemu panamoe_cudaemu)

add_executable(tensor_gemm_test ${tests}/tensor_gemm_test.cpp
  $<TARGET_OBJECTS:panamoe_emulated> $<TARGET_OBJECTS:panamoe_emulator>)
panamoe_emulated(tensor_gemm_test)
target_link_libraries(tensor_gemm_test PRIVATE Threads::Threads)
foreach(test gemm exact grouped_gemm not_finite plain tables bad_tables)
  add_test(NAME tensor_gemm_${test} COMMAND tensor_gemm_test ${test})
endforeach()

add_executable(mla_test ${tests}/mla_test.cpp $<TARGET_OBJECTS:panamoe_emulated> $<TARGET_OBJECTS:panamoe_emulator>)
panamoe_emulated(mla_test)
target_link_libraries(mla_test PRIVATE Threads::Threads)
foreach(test lengths heads drafts batches not_finite huge_scores bad_indices)
  add_test(NAME mla_${test} COMMAND mla_test ${test})
endforeach()

# ---- The device ----

option(PANAMOE_SKIP_CUDA "build no libpanamoe_cuda, whether there is a CUDA toolkit or not" OFF)
set(no_cuda "")
if(PANAMOE_SKIP_CUDA)
  set(no_cuda "PANAMOE_SKIP_CUDA")
else()
  find_program(PANAMOE_NVCC nvcc HINTS ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin)
  if(PANAMOE_NVCC)
    find_package(CUDAToolkit QUIET)
  endif()
  if(NOT PANAMOE_NVCC OR NOT TARGET CUDA::cudart_static)
    set(no_cuda "no CUDA toolkit")
  endif()
endif()
if(no_cuda)
  message(NOTICE "panamoe: ${no_cuda}, libpanamoe_cuda is not built")
  if(PANAMOE_JAR_DIR)  # an earlier build's
    file(REMOVE ${PANAMOE_JAR_DIR}/linux-${PANAMOE_ARCH}/libpanamoe_cuda.so)
  endif()
  add_test(NAME tensor_kernels COMMAND ${CMAKE_COMMAND} -E echo "skipped: without nvcc, whose register counts are tested")
  set_tests_properties(tensor_kernels PROPERTIES SKIP_REGULAR_EXPRESSION "^skipped: ")
  return()
endif()

list(TRANSFORM PANAMOE_CUDA_ARCHITECTURES PREPEND --generate-code= OUTPUT_VARIABLE generate_code)
list(TRANSFORM cuda_includes PREPEND -I OUTPUT_VARIABLE include_options)
set(nvcc_options -std=c++20 -O3 -lineinfo --fmad=false ${generate_code} ${include_options} -ccbin ${CMAKE_CXX_COMPILER}
  -Xcompiler=-fPIC,-fvisibility=hidden,-fvisibility-inlines-hidden,-ffp-contract=off
  -Xcompiler=-Wall,-Wextra,-Wshadow=local,-Werror -Xptxas=-warn-spills -Werror=all-warnings)

# panamoe_nvcc(<object> <source>): the variable gets the name of what nvcc makes of the source.
file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/cuda)
function(panamoe_nvcc variable source)
  cmake_path(GET source STEM name)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/cuda/${name}.o)
  add_custom_command(OUTPUT ${object} DEPENDS ${source} DEPFILE ${object}.d VERBATIM
    COMMAND ${PANAMOE_NVCC} ${nvcc_options} -MD -MF ${object}.d -c ${source} -o ${object}
    COMMENT "Building CUDA object cuda/${name}.o")
  set(${variable} ${object} PARENT_SCOPE)
endfunction()

set(cuda_objects "")
foreach(source IN LISTS PANAMOE_CUDA)
  panamoe_nvcc(object ${source})
  list(APPEND cuda_objects ${object})
endforeach()
panamoe_host(panamoe_cuda_context ${PANAMOE_CUDA_CONTEXT})
target_include_directories(panamoe_cuda_context SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
target_include_directories(panamoe_cuda_context PRIVATE ${PANAMOE_ROOT}/kernels/cuda)
panamoe_library(panamoe_cuda ${cuda_objects} $<TARGET_OBJECTS:panamoe_cuda_context>)
target_link_libraries(panamoe_cuda PRIVATE CUDA::cudart_static)
panamoe_jar_copy(panamoe_jar_copy_cuda panamoe_cuda)
panamoe_library_symbols(library_symbols_cuda panamoe_cuda)

# The emulator's test kernels have to get through nvcc.
panamoe_nvcc(object ${tests}/emulator_kernels.cu)
add_custom_target(emulator_kernels ALL DEPENDS ${object})

# What ptxas says of the tensor kernels, and the registers that each of their threads can have.
set(tensor_options ${nvcc_options})
list(FILTER tensor_options EXCLUDE REGEX "^--generate-code")
function(panamoe_tensor_kernels name most_registers)
  add_test(NAME tensor_kernels_${name}
    COMMAND ${CMAKE_COMMAND} -DNVCC=${PANAMOE_NVCC} "-DOPTIONS=${tensor_options}"
      -DSOURCE=${PANAMOE_ROOT}/kernels/cuda/${name}.cu -DMOST_REGISTERS=${most_registers}
      -DCUBIN=${CMAKE_CURRENT_BINARY_DIR}/cuda/${name}.cubin -P ${tests}/tensor_kernels.cmake)
endfunction()
panamoe_tensor_kernels(tensor_gemm 232)    # what setmaxnreg gives to those who multiply
panamoe_tensor_kernels(mla_attention 255)  # 256 threads

# The machine's instructions, where something is found that lists them.
find_program(PANAMOE_CUOBJDUMP cuobjdump HINTS ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin)
function(panamoe_tensor_instructions name)
  if(PANAMOE_CUOBJDUMP)
    add_test(NAME tensor_instructions_${name}
      COMMAND ${CMAKE_COMMAND} -DCUOBJDUMP=${PANAMOE_CUOBJDUMP} -DCUBIN=${CMAKE_CURRENT_BINARY_DIR}/cuda/${name}.cubin
        "-DINSTRUCTIONS=${ARGN}" -P ${tests}/tensor_instructions.cmake)
    set_tests_properties(tensor_kernels_${name} PROPERTIES FIXTURES_SETUP cubin_${name})
    set_tests_properties(tensor_instructions_${name} PROPERTIES FIXTURES_REQUIRED cubin_${name})
  else()
    add_test(NAME tensor_instructions_${name} COMMAND ${CMAKE_COMMAND} -E echo "skipped: no cuobjdump")
    set_tests_properties(tensor_instructions_${name} PROPERTIES SKIP_REGULAR_EXPRESSION "^skipped: ")
  endif()
endfunction()
panamoe_tensor_instructions(tensor_gemm HGMMA QGMMA UTMALDG)  # products of bf16, of e4m3, loads by TMA
panamoe_tensor_instructions(mla_attention HGMMA UTMALDG)
