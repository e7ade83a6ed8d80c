"""A Celery application with a Python worker's side of the tests."""
import json
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


@app.task(name="tests.count", acks_late=True)
def count(path):
    """The C module has it too; each run leaves one letter, here a "p" and there an "x"."""
    with open(path, "a") as file:
        file.write("p")


@app.task(name="pytasks.add")
def add(x, y):
    return x + y


@app.task(name="pytasks.tsum")
def tsum(numbers):
    return sum(numbers)


@app.task(name="pytasks.mark")
def mark(first, word):
    """What a callback or errback was called with, for the test to look at."""
    app.connection_for_write().default_channel.client.rpush("marks", json.dumps([first, word]))


@app.task(name="pytasks.errback")
def errback(failed):
    mark(failed, "errback")
