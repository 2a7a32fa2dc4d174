# SPDX-License-Identifier: MIT
# metalsim_image(): shaders to an image that the simulator runs. Needs clang 19 (C++ with
# the address spaces of OpenCL) and Python 3, both found by cmake/backends.cmake;
# METALSIM_FOUND says whether they are there.
set(METALSIM_FOUND OFF)
if(MNT_CLANGXX AND Python3_FOUND AND
   NOT MNT_SANITIZE MATCHES "thread|memory" AND # they do not know the fibers
   CMAKE_SYSTEM_NAME STREQUAL Linux AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|aarch64")
    set(METALSIM_FOUND ON)
endif()
set(METALSIM_KIND plain) # of an image that names none
if(MNT_SANITIZE MATCHES address)
    set(METALSIM_KIND asan)
endif()
set(METALSIM_DIR ${CMAKE_CURRENT_LIST_DIR})
cmake_path(GET METALSIM_DIR PARENT_PATH METALSIM_ROOT)
cmake_path(GET METALSIM_ROOT PARENT_PATH METALSIM_ROOT)

set(METALSIM_FLAGS -std=c++17 -g -fPIC -fvisibility=hidden -ffp-contract=off
    -ffreestanding -nostdinc -nostdinc++
    -Wall -Wextra -Wno-unused-function -Wno-unused-parameter -Werror
    -Wpre-c++17-compat -Wdouble-promotion -Wvla -flax-vector-conversions=none)
if(CMAKE_SYSTEM_PROCESSOR STREQUAL x86_64)
    # fma as one instruction; no frame so large that it reaches past a stack's guard.
    list(APPEND METALSIM_FLAGS -march=x86-64-v3 -fstack-clash-protection)
endif()
set(METALSIM_TARGET)
if(CMAKE_CROSSCOMPILING)
    set(METALSIM_TARGET --target=${CMAKE_SYSTEM_PROCESSOR}-linux-gnu)
    list(APPEND METALSIM_FLAGS ${METALSIM_TARGET})
endif()

# metalsim_image(target [KIND plain|race|asan|cover] [INCLUDES dir...] [HEADERS file...]
#                SOURCES file.metal...)
# Makes ${target}.metallib in the current binary folder. KIND: race watches for races and
# accesses outside of bindings; asan has AddressSanitizer and UBSan, and is for a build
# with MNT_SANITIZE=address,undefined, where it is the default; cover notes which edges of
# which kernel ran (shim/cover.h). The target's properties METALSIM_IMAGE (the file) and
# METALSIM_SOURCE (the flattened source) are set, and METALSIM_COMPILE (the compiler's
# words) and METALSIM_OBJECTS, from which tests/mutants makes images of its own.
function(metalsim_image target)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "KIND" "INCLUDES;HEADERS;SOURCES")
    if(NOT arg_KIND)
        set(arg_KIND ${METALSIM_KIND})
    endif()
    set(image ${CMAKE_CURRENT_BINARY_DIR}/${target}.metallib)
    set(flat ${CMAKE_CURRENT_BINARY_DIR}/${target}.flat.metal)
    set(cpp ${CMAKE_CURRENT_BINARY_DIR}/${target}.cpp)
    set(runtime ${METALSIM_DIR}/shim/image_runtime.c)
    set(flags ${METALSIM_FLAGS} -O2)
    if(arg_KIND STREQUAL race)
        # Every access on its own: no vectors wider than those of the source.
        list(APPEND flags -O1 -fsanitize=thread -fno-vectorize -fno-slp-vectorize
            -mllvm -tsan-instrument-func-entry-exit=0)
        set(runtime ${METALSIM_DIR}/shim/race_runtime.c)
    elseif(arg_KIND STREQUAL asan)
        list(APPEND flags -O1 -fsanitize=address,undefined -fno-sanitize=function -fno-sanitize-recover=all
            -fno-omit-frame-pointer)
        set(runtime ${METALSIM_DIR}/shim/asan_runtime.c)
    elseif(arg_KIND STREQUAL cover)
        # Helpers become part of each kernel, so that an edge is one of that kernel.
        list(APPEND flags -DMETALSIM_COVER_IMAGE -fno-vectorize -fno-slp-vectorize
            -fno-unroll-loops -mllvm -inline-threshold=100000
            -fsanitize-coverage=inline-bool-flag,pc-table)
        set(runtime ${METALSIM_DIR}/shim/cover_runtime.c)
    endif()
    set(includes)
    foreach(dir IN LISTS arg_INCLUDES)
        list(APPEND includes -I ${dir})
    endforeach()
    set(tools ${METALSIM_ROOT}/shaders/tools)
    file(GLOB shim CONFIGURE_DEPENDS ${METALSIM_DIR}/shim/*.h ${METALSIM_DIR}/shim/*.c)
    set(sources)
    foreach(file IN LISTS arg_SOURCES)
        cmake_path(ABSOLUTE_PATH file NORMALIZE)
        list(APPEND sources ${file})
    endforeach()
    add_custom_command(OUTPUT ${flat}
        COMMAND ${Python3_EXECUTABLE} ${tools}/flatten --root ${METALSIM_ROOT}
            -I ${METALSIM_ROOT}/include ${includes} --depfile ${flat}.d -o ${flat}
            ${sources}
        DEPENDS ${sources} ${arg_HEADERS} ${tools}/flatten
        DEPFILE ${flat}.d VERBATIM)
    add_custom_command(OUTPUT ${cpp} ${cpp}.json
        COMMAND ${Python3_EXECUTABLE} ${tools}/rewrite.py --target host
            --cpp ${MNT_CLANGXX} -o ${cpp} --table ${cpp}.json ${flat}
        DEPENDS ${flat} ${tools}/rewrite.py VERBATIM)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${target}.runtime.o)
    set(shims -isystem ${METALSIM_ROOT}/shaders/shim -isystem ${METALSIM_DIR}/shim)
    add_custom_command(OUTPUT ${image}
        COMMAND ${Python3_EXECUTABLE} ${tools}/lint.py --clang ${MNT_CLANGXX} --
            ${METALSIM_FLAGS} ${shims} ${cpp}
        COMMAND ${MNT_CLANGXX} ${METALSIM_TARGET} -x c -std=gnu11 -O2 -g -fPIC
            -fvisibility=hidden -c ${runtime} -o ${object}
        COMMAND ${MNT_CLANGXX} ${flags} ${shims} -c ${cpp} -o ${cpp}.o
        COMMAND ${CMAKE_C_COMPILER} -shared ${cpp}.o ${object} -o ${image}
        COMMAND ${Python3_EXECUTABLE} ${METALSIM_DIR}/tools/seal ${image}
        DEPENDS ${cpp} ${shim} ${METALSIM_ROOT}/shaders/shim/metal_stdlib
            ${METALSIM_ROOT}/shaders/shim/atomic.h
            ${METALSIM_DIR}/tools/seal ${tools}/lint.py
        COMMENT "Shader image ${target}.metallib (${arg_KIND})" VERBATIM)
    add_custom_target(${target} ALL DEPENDS ${image})
    set_target_properties(${target} PROPERTIES METALSIM_IMAGE ${image}
        METALSIM_SOURCE ${flat} METALSIM_OBJECTS "${cpp}.o;${object}"
        METALSIM_COMPILE "${MNT_CLANGXX};${flags};${shims}")
endfunction()

# Where GCC's Objective-C runtime is; METALSIM_OBJC says whether it is there.
string(REPLACE "clang++" "clang" METALSIM_CC "${MNT_CLANGXX}")
execute_process(COMMAND ${CMAKE_C_COMPILER} -print-file-name=libobjc.so
    OUTPUT_VARIABLE METALSIM_LIBOBJC OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
cmake_path(GET METALSIM_LIBOBJC PARENT_PATH metalsim_objc_include)
string(APPEND metalsim_objc_include /include)
set(METALSIM_OBJC OFF)
if(METALSIM_FOUND AND EXISTS "${METALSIM_CC}" AND EXISTS ${METALSIM_LIBOBJC} AND
   EXISTS ${metalsim_objc_include}/objc/objc.h)
    set(METALSIM_OBJC ON)
endif()

# metalsim_objects(VARIABLE [DEFINITIONS name...] [INCLUDES dir...] SOURCES file...)
# Compiles Objective-C against the simulator's Foundation and Metal; the variable gets the
# objects, sources of a target that links metalsim_metal.
function(metalsim_objects variable)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "DEFINITIONS;INCLUDES;SOURCES")
    set(flags -std=c11 -g -fPIC -fvisibility=hidden -ffp-contract=off -fobjc-runtime=gcc
        -fblocks -fconstant-string-class=NSConstantString -Wall -Wextra -Wpedantic
        -Wconversion -Wshadow -Wstrict-prototypes -Wvla
        -I${METALSIM_DIR}/apple -I${METALSIM_ROOT}/include
        -idirafter ${metalsim_objc_include})
    if(MNT_WERROR)
        list(APPEND flags -Werror)
    endif()
    if(CMAKE_BUILD_TYPE STREQUAL Debug)
        list(APPEND flags -O0)
    else()
        list(APPEND flags -O2)
    endif()
    if(MNT_SANITIZE)
        list(APPEND flags -fsanitize=${MNT_SANITIZE} -fno-sanitize=function
            -fno-sanitize-recover=all -fno-omit-frame-pointer)
    endif()
    set_property(GLOBAL PROPERTY METALSIM_OBJC_COMPILE "${METALSIM_CC};${flags}")
    list(TRANSFORM arg_DEFINITIONS PREPEND -D)
    list(TRANSFORM arg_INCLUDES PREPEND -I)
    set(objects)
    foreach(file IN LISTS arg_SOURCES)
        cmake_path(ABSOLUTE_PATH file NORMALIZE)
        cmake_path(GET file FILENAME name)
        set(object ${CMAKE_CURRENT_BINARY_DIR}/${variable}/${name}.o)
        file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/${variable})
        add_custom_command(OUTPUT ${object}
            COMMAND ${METALSIM_CC} ${flags} ${arg_DEFINITIONS} ${arg_INCLUDES}
                -MD -MF ${object}.d -c ${file} -o ${object}
            DEPENDS ${file} DEPFILE ${object}.d
            COMMENT "Building Objective-C object ${name}.o" VERBATIM)
        list(APPEND objects ${object})
    endforeach()
    set_source_files_properties(${objects} PROPERTIES GENERATED ON EXTERNAL_OBJECT ON)
    set(${variable} ${objects} PARENT_SCOPE)
endfunction()
