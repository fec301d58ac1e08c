# Warnings are errors in our own code.
set(PANAMOE_WARNINGS -Wall -Wextra -Wpedantic -Wshadow=local -Wconversion -Wcast-align -Wundef -Werror)
