"""A Celery application with a Python worker's side of the tests."""
import os

from celery import Celery

app = Celery("pytasks", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_RESULT_BACKEND"])
app.conf.update(accept_content=["json", "msgpack"], worker_prefetch_multiplier=1, worker_send_task_events=False)


@app.task(name="pytasks.echo")
def echo(*args, **kwargs):
    return [list(args), kwargs]


@app.task(name="pytasks.fail")
def fail(text):
    raise ValueError(text)


@app.task(name="tests.record", acks_late=True)
def record(uri, task_number):
    """The same task stands in the C module: one row for each run, and who ran it."""
    import psycopg2

    with psycopg2.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO run (number, worker) VALUES (%s, 'python')", (task_number,))
