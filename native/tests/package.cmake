# Installs into an empty prefix and builds example.c against it, once by pkg-config and once by find_package.
file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK}/app)
set(prefix ${WORK}/prefix)
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix} OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
set(expected "1 2\n4 -1.5\n6 -2.5\n8 -3.5\n")

function(run_example by program)
  execute_process(COMMAND ${CMAKE_COMMAND} -E env LD_LIBRARY_PATH=${prefix}/${LIBDIR} ${program}
    OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
  if(NOT output STREQUAL expected)
    message(FATAL_ERROR "${by}: the example prints\n${output}not\n${expected}")
  endif()
  message(STATUS "${by}: ok")
endfunction()

find_program(PKG_CONFIG NAMES pkg-config pkgconf)
if(PKG_CONFIG)
  execute_process(COMMAND ${CMAKE_COMMAND} -E env PKG_CONFIG_PATH=${prefix}/${LIBDIR}/pkgconfig
    ${PKG_CONFIG} --cflags --libs panamoe
    OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(flags UNIX_COMMAND "${flags}")
  execute_process(COMMAND ${CC} -std=c99 -Wall -Wextra -Wpedantic -Werror ${EXAMPLE} ${flags} -o ${WORK}/by_pkg_config
    COMMAND_ERROR_IS_FATAL ANY)
  run_example("pkg-config" ${WORK}/by_pkg_config)
else()
  message(STATUS "pkg-config: skipped, it is not installed")
endif()

file(WRITE ${WORK}/app/CMakeLists.txt "
cmake_minimum_required(VERSION 3.25)
project(app LANGUAGES C)
find_package(panamoe ${VERSION} REQUIRED)
add_executable(app ${EXAMPLE})
target_link_libraries(app PRIVATE panamoe::panamoe_cpu)
")
execute_process(COMMAND ${CMAKE_COMMAND} -S ${WORK}/app -B ${WORK}/app/build -G ${GENERATOR} -DCMAKE_C_COMPILER=${CC}
  -DCMAKE_PREFIX_PATH=${prefix} OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${WORK}/app/build OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
run_example("find_package" ${WORK}/app/build/app)
