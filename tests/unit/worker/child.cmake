# What runs in a pool process, and the frames.
function(child_unit_test file)
  cmake_parse_arguments(TEST "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(test_worker_${file} ${CMAKE_CURRENT_SOURCE_DIR}/test_${file}.c ${TEST_SOURCES})
  target_link_libraries(test_worker_${file} PRIVATE room_worker_child PkgConfig::CMOCKA ${TEST_LIBRARIES})
  set_target_properties(test_worker_${file} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME unit/worker/${file} COMMAND test_worker_${file})
  set_tests_properties(unit/worker/${file} PROPERTIES LABELS unit TIMEOUT 60)
endfunction()

# The child's side alone: links only as long as nothing in it needs Redis.
add_executable(child_alone ${CMAKE_CURRENT_SOURCE_DIR}/child_alone.c)
target_link_libraries(child_alone PRIVATE room_worker_child)
set_target_properties(child_alone PROPERTIES
  ENABLE_EXPORTS ON
  LINK_LIBRARY_OVERRIDE
    "WHOLE_ARCHIVE,room_core,room_message,room_store,room_worker_frame,room_worker_child"
  RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
add_test(NAME unit/worker/child_alone
  COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/check_child_alone.sh $<TARGET_FILE:child_alone>
    ${PROJECT_SOURCE_DIR}/include)
set_tests_properties(unit/worker/child_alone PROPERTIES LABELS unit TIMEOUT 60)

# Tests that start child_alone as a supervisor would.
add_library(child_process STATIC EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/tests/support/child_process.c)
target_link_libraries(child_process PUBLIC room_worker_frame room_message PRIVATE PkgConfig::CMOCKA)
target_compile_definitions(child_process
  PRIVATE CHILD_ALONE="$<TARGET_FILE:child_alone>"
  INTERFACE CHILD_ALONE="$<TARGET_FILE:child_alone>" MODULES="${CMAKE_BINARY_DIR}/modules")
add_dependencies(child_process child_alone module_probe module_needy)
foreach(what plain version duplicate empty params symbol)
  add_dependencies(child_process module_broken_${what})
endforeach()

child_unit_test(frame)
child_unit_test(child_params)
child_unit_test(child_modules)
child_unit_test(child LIBRARIES child_process)
child_unit_test(child_run LIBRARIES child_process)
