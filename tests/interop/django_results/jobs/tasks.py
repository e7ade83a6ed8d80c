"""What tests/modules/probe.c does, as Python's worker does it."""
import time

from celery import current_app, shared_task


@shared_task(name="tests.add")
def add(x, y, z=None):
    return x + y + (z or 0)


@shared_task(name="tests.echo")
def echo(*args, **kwargs):
    return [list(args), kwargs]


@shared_task(name="tests.noop")
def noop():
    pass


@shared_task(name="tests.ignored", ignore_result=True)
def ignored():
    pass


@shared_task(name="tests.fail")
def fail(type="ValueError", text="boom"):
    raise {"ValueError": ValueError, "KeyError": KeyError}[type](text)


@shared_task(name="tests.retry_always", bind=True, max_retries=2)
def retry_always(self, type=None, text=None, countdown_ms=0):
    raise self.retry(exc=ValueError(text), countdown=countdown_ms / 1000)


@shared_task(name="tests.sleep_tracked", track_started=True)
def sleep_tracked(ms=1000):
    time.sleep(ms / 1000)


@shared_task(name="tests.progress", bind=True)
def progress(self, steps=3, ms=10):
    for done in range(1, steps + 1):
        self.update_state(state="PROGRESS", meta={"done": done, "of": steps})
        time.sleep(ms / 1000)
    return steps


@shared_task(name="tests.send", bind=True)
def send(self, name, args=(), count=1):
    queue = self.request.delivery_info["routing_key"]
    return [current_app.send_task(name, args, queue=queue).id for _ in range(count)]
