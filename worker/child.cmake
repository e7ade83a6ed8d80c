# The child's side: no broker, no supervisor.
celeriac_room(worker_child
  SOURCES child.c child_run.c child_task.c child_args.c child_send.c child_db.c child_modules.c
          child_params.c
  USES core message store worker_frame
  LIBRARIES ${CMAKE_DL_LIBS})
