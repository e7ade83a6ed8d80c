"""A Celery application whose tasks tell what arrived; for test_messages.py."""
import json
import os
import time

from celery import Celery

app = Celery("message_tasks", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_RESULT_BACKEND"])
app.conf.update(accept_content=["json", "msgpack"], task_default_queue="celery", worker_send_task_events=False)

HEADERS = ["tenant", "numbers", "periodic_task_name", "stamps"]  # of the sender's own
REQUEST = ["id", "root_id", "parent_id", "group", "retries", "eta", "expires", "timelimit", "ignore_result", "shadow",
           "argsrepr", "kwargsrepr", "origin", "correlation_id"]


def told(request, args, kwargs):
    """Values by their type and repr, so that what JSON cannot say comes through as well."""
    return {
        "args": [[type(value).__name__, repr(value)] for value in args],
        "kwargs": {key: [type(value).__name__, repr(value)] for key, value in kwargs.items()},
        "request": {name: request.get(name) for name in REQUEST + HEADERS},
        "delivery_info": {key: (request.delivery_info or {}).get(key) for key in ("priority", "routing_key", "exchange")},
        "time": time.time(),
    }


@app.task(name="messages.describe", bind=True)
def describe(self, *args, **kwargs):
    seen = told(self.request, args, kwargs)
    app.backend.client.hset("seen", self.request.id, json.dumps(seen))  # also when results are ignored
    return seen["args"]


@app.task(name="messages.üni", bind=True)
def with_unicode_name(self):
    return describe.run.__func__(self)
