# SPDX-License-Identifier: MIT
# Install rules: libraries, headers, mnt.pc, the CMake package and the programs.
if(NOT MNT_INSTALL)
    return()
endif()
include(CMakePackageConfigHelpers)

set(mnt_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/mnt)
set(mnt_pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(TARGETS mnt_shared mnt_static EXPORT mntTargets)
install(FILES ${mnt_headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/mnt)
install(EXPORT mntTargets NAMESPACE mnt:: DESTINATION ${mnt_package_dir})

configure_package_config_file(cmake/mntConfig.cmake.in mntConfig.cmake
    INSTALL_DESTINATION ${mnt_package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(mntConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
    ${PROJECT_BINARY_DIR}/mntConfig.cmake ${PROJECT_BINARY_DIR}/mntConfigVersion.cmake
    ${PROJECT_SOURCE_DIR}/cmake/dependencies.cmake
    DESTINATION ${mnt_package_dir})

# The .pc file finds its prefix from its own place, so an installed tree can be moved.
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR} OR IS_ABSOLUTE ${CMAKE_INSTALL_INCLUDEDIR})
    set(mnt_pc_prefix ${CMAKE_INSTALL_PREFIX})
else()
    file(RELATIVE_PATH mnt_pc_up /p/${mnt_pc_dir} /p)
    string(REGEX REPLACE "/$" "" mnt_pc_up "${mnt_pc_up}")
    set(mnt_pc_prefix "\${pcfiledir}/${mnt_pc_up}")
endif()
cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_LIBDIR BASE_DIRECTORY "\${prefix}"
    OUTPUT_VARIABLE mnt_pc_libdir)
cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_INCLUDEDIR BASE_DIRECTORY "\${prefix}"
    OUTPUT_VARIABLE mnt_pc_includedir)
set(mnt_pc_libs "-pthread")
foreach(lib IN LISTS CMAKE_DL_LIBS)
    string(APPEND mnt_pc_libs " -l${lib}")
endforeach()
foreach(lib IN LISTS mnt_gpu_libraries)
    string(APPEND mnt_pc_libs " ${lib}")
endforeach()
if(NOT APPLE)
    string(PREPEND mnt_pc_libs "-lm ")
endif()
configure_file(cmake/mnt.pc.in mnt.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/mnt.pc DESTINATION ${mnt_pc_dir})

file(RELATIVE_PATH mnt_lib_from_bin
    /p/${CMAKE_INSTALL_BINDIR} /p/${CMAKE_INSTALL_LIBDIR})
set(mnt_origin $<IF:$<PLATFORM_ID:Darwin>,@loader_path,$ORIGIN>)
foreach(program mlp lenet mnt-conformance)
    if(TARGET ${program})
        set_target_properties(${program} PROPERTIES
            INSTALL_RPATH ${mnt_origin}/${mnt_lib_from_bin})
        install(TARGETS ${program})
    endif()
endforeach()
foreach(page IN LISTS mnt_man_pages)
    string(REGEX REPLACE ".*\\." "" section ${page})
    install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()
