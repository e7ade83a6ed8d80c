# Writes OUTPUT: for each of FILES (NNNN_name.sql;...) its name and text as an initialiser of the
# table in migrate.c: {"name", "text"}.
set(out "")
foreach(file IN LISTS FILES)
  get_filename_component(name "${file}" NAME)
  file(READ "${file}" text)
  string(REPLACE "\\" "\\\\" text "${text}")
  string(REPLACE "\"" "\\\"" text "${text}")
  string(REPLACE "\n" "\\n\"\n    \"" text "${text}")
  string(APPEND out "{\"${name}\",\n    \"${text}\"},\n")
endforeach()
file(WRITE "${OUTPUT}" "${out}")
