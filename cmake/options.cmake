# SPDX-License-Identifier: MIT
# Options, and the flags that hold for every target of the project.

if(NOT DEFINED PROJECT_IS_TOP_LEVEL) # CMake 3.21 and newer define it
    set(PROJECT_IS_TOP_LEVEL OFF)
endif()

option(BUILD_SHARED_LIBS "mnt::mnt is the shared library" ON)
option(MNT_BUILD_TESTS "build the tests (needs cmocka)" ${PROJECT_IS_TOP_LEVEL})
option(MNT_BUILD_EXAMPLES "build the programs mlp and lenet" ${PROJECT_IS_TOP_LEVEL})
option(MNT_BUILD_CONFORMANCE "build mnt-conformance, the judge of backends"
    ${PROJECT_IS_TOP_LEVEL})
option(MNT_BUILD_BENCH "build the comparisons with OpenBLAS" OFF)
option(MNT_INSTALL "make install rules" ${PROJECT_IS_TOP_LEVEL})
option(MNT_WERROR "warnings are errors" OFF)
option(MNT_COVERAGE "instrument for gcov" OFF)
set(MNT_SANITIZE "" CACHE STRING "sanitizers, as -fsanitize takes them")

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Release or Debug" FORCE)
endif()

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)

# Contraction off is part of the bit-exactness contract (docs/numerics.md, A).
add_compile_options(-ffp-contract=off -Wall -Wextra -Wpedantic -Wconversion -Wshadow
    -Wstrict-prototypes -Wvla)
if(MNT_WERROR)
    add_compile_options(-Werror)
endif()

if(MNT_SANITIZE)
    add_compile_options(-fsanitize=${MNT_SANITIZE} -fno-sanitize-recover=all
        -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${MNT_SANITIZE})
elseif(NOT APPLE)
    add_link_options($<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,SHARED_LIBRARY>:-Wl,-z,defs>)
endif()
if(MNT_COVERAGE)
    add_compile_options(--coverage)
    add_link_options(--coverage)
endif()
