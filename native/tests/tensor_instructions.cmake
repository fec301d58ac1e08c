# What cuobjdump says of a cubin: all of INSTRUCTIONS are there, and nothing goes through local memory.
execute_process(COMMAND ${CUOBJDUMP} -sass ${CUBIN}
  OUTPUT_VARIABLE sass ERROR_VARIABLE errors RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "cuobjdump -sass ${CUBIN}: ${errors}")
endif()
foreach(instruction IN LISTS INSTRUCTIONS)
  if(NOT sass MATCHES "[ \t]${instruction}[.]")
    message(FATAL_ERROR "${CUBIN} has no ${instruction}")
  endif()
endforeach()
if(sass MATCHES "[^\n]*[ \t](LDL|STL)[. ][^\n]*")
  message(FATAL_ERROR "${CUBIN} uses local memory: ${CMAKE_MATCH_0}")
endif()
