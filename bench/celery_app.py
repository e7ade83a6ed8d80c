"""The same tasks for Celery, with its defaults; `BENCH_BEST=1` gives it the settings that make it fastest."""
import os
import time

from celery import Celery

app = Celery("bench", broker=os.environ["BENCH_URL"], backend=os.environ["BENCH_URL"])
app.conf.task_default_queue = "bench"
if os.environ.get("BENCH_BEST"):
    app.conf.worker_prefetch_multiplier = 64


@app.task(name="bench.noop", ignore_result=True)
def noop():
    pass


@app.task(name="bench.noop_result")
def noop_result():
    pass


@app.task(name="bench.started")
def started():
    return time.time()
