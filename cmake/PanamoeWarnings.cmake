# Warnings are errors in our own code.
set(PANAMOE_WARNINGS -Wall -Wextra -Wpedantic -Wconversion -Wcast-align -Wundef -Werror
    $<$<CXX_COMPILER_ID:GNU>:-Wshadow=local>)
