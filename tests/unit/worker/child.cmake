# What runs in a pool process, and the frames.
function(child_unit_test file)
  cmake_parse_arguments(TEST "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(test_worker_${file} ${CMAKE_CURRENT_SOURCE_DIR}/test_${file}.c ${TEST_SOURCES})
  target_link_libraries(test_worker_${file} PRIVATE room_worker_child PkgConfig::CMOCKA ${TEST_LIBRARIES})
  target_compile_definitions(test_worker_${file} PRIVATE TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data")
  set_target_properties(test_worker_${file} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME unit/worker/${file} COMMAND test_worker_${file})
  set_tests_properties(unit/worker/${file} PROPERTIES LABELS unit TIMEOUT 60)
endfunction()

child_unit_test(frame)
child_unit_test(child_params)
