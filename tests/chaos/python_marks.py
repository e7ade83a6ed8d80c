"""A Celery application with the task of tests/modules/marks.c; its marks end with "p"."""
import os
import time

from celery import Celery

app = Celery("python_marks", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_RESULT_BACKEND"])
app.conf.update(
    task_acks_late=os.environ["CHAOS_ACKS"] == "late", broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": int(os.environ["CHAOS_VISIBILITY_TIMEOUT"])},
    worker_send_task_events=False)


def leave(task, path, kind, number):
    redelivered = int(bool(task.request.delivery_info.get("redelivered")))
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, f"{kind} {number} {time.time_ns() // 1000} {redelivered} p\n".encode())
    os.close(file)


@app.task(name="tests.mark", bind=True)
def mark(self, path, number, ms=0):
    leave(self, path, "S", number)
    time.sleep(ms / 1000)
    leave(self, path, "E", number)
