# SPDX-License-Identifier: MIT
# The reference pages (target docs, needs Doxygen) and the manual pages (needs scdoc);
# where a tool is missing its pages are left out.
find_program(MNT_DOXYGEN doxygen)
if(MNT_DOXYGEN)
    configure_file(docs/Doxyfile.in Doxyfile @ONLY)
    add_custom_target(docs
        COMMAND ${MNT_DOXYGEN} ${PROJECT_BINARY_DIR}/Doxyfile
        COMMENT "Reference pages into docs/html" VERBATIM)
endif()

find_program(MNT_SCDOC scdoc)
file(GLOB mnt_man_sources CONFIGURE_DEPENDS docs/man/*.scd)
if(MNT_SCDOC AND mnt_man_sources)
    foreach(source IN LISTS mnt_man_sources)
        get_filename_component(page ${source} NAME_WLE) # mlp.1.scd -> mlp.1
        add_custom_command(OUTPUT man/${page}
            COMMAND ${CMAKE_COMMAND} -E make_directory man
            COMMAND sh -c "\"$1\" <\"$2\" >\"$3\"" sh
                ${MNT_SCDOC} ${source} ${PROJECT_BINARY_DIR}/man/${page}
            DEPENDS ${source} VERBATIM)
        list(APPEND mnt_man_pages ${PROJECT_BINARY_DIR}/man/${page})
    endforeach()
    add_custom_target(man ALL DEPENDS ${mnt_man_pages})
endif()
