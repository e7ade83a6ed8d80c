"""The tasks of the module `conformance`, in Python: what a Celery worker does with them is what the module in C is
held against. The client of the suite takes its signatures from here as well.

A worker of its own: celery -A t.integration.tasks worker, with CELERY_BROKER_URL, CELERY_RESULT_BACKEND, REDIS_HOST
and REDIS_PORT in the environment.
"""
import logging
import os
import time

import redis
from celery import Celery, Task, chain, chord, group
from celery.exceptions import SoftTimeLimitExceeded

app = Celery("t.integration.tasks", broker=os.environ.get("CELERY_BROKER_URL"),
             backend=os.environ.get("CELERY_RESULT_BACKEND"))
app.conf.update(worker_prefetch_multiplier=1)
task = app.task
log = logging.getLogger(__name__)


class ExpectedException(Exception):
    """Raised on purpose, as itself: the client has this class too."""


class UnpickleableException(Exception):
    """One that takes other arguments than it hands on."""

    def __init__(self, foo, bar=None):
        super().__init__(foo)
        self.bar = bar


def connection():
    return redis.Redis(os.environ.get("REDIS_HOST", "127.0.0.1"), int(os.environ.get("REDIS_PORT", "6379")))


# --- values -----------------------------------------------------------------------------------------


@task
def identity(x):
    return x


@task
def add(x, y, z=None):
    return x + y + z if z else x + y


@task(typing=False)
def add_not_typed(x, y):
    return x + y


@task(ignore_result=True)
def add_ignore_result(x, y):
    return x + y


@task
def mul(x, y):
    return x * y


@task
def tsum(nums):
    return sum(nums)


@task
def xsum(nums):
    return sum(sum(item) if isinstance(item, list) else item for item in nums)


@task
def add_pydantic(data):
    return {"result": data["x"] + data["y"]}


@task
def add_pydantic_string_annotations(data):
    return {"result": data["x"] + data["y"]}


@task
def print_unicode(log_message="håå®ƒ valmuefrø", print_message="hiöäüß"):
    log.warning(log_message)
    print(print_message)


@task
def write_to_file_and_return_int(file_name, i):
    with open(file_name, "a") as file:
        file.write(f"{i}\n")
    return i


# --- time -------------------------------------------------------------------------------------------


@task
def delayed_sum(numbers, pause_time=1):
    time.sleep(pause_time)
    return sum(numbers)


@task
def delayed_sum_with_soft_guard(numbers, pause_time=1):
    try:
        time.sleep(pause_time)
        return sum(numbers)
    except SoftTimeLimitExceeded:
        return 0


@task
def sleeping(i, **_):
    time.sleep(i)


# --- failures and retries ---------------------------------------------------------------------------


@task
def raise_error(*_):
    raise ValueError("deliberate error")


@task
def fail(*args):
    raise ExpectedException("Task expected to fail", *args)


@task
def fail_unpickleable(foo, bar):
    raise UnpickleableException(foo, bar)


@task
def return_exception(e):
    return [e, True]


@task(bind=True)
def retry(self, return_value=None):
    if return_value and self.request.retries >= self.max_retries:
        return return_value
    raise self.retry(countdown=5, exc=ExpectedException())


@task(bind=True, expires=60, max_retries=1)
def retry_once(self, *args, expires=None, max_retries=1, countdown=0.1):
    if self.request.retries:
        return self.request.retries
    raise self.retry(countdown=countdown, max_retries=max_retries, **({"expires": expires} if expires else {}))


@task(bind=True, max_retries=1)
def retry_once_priority(self, *args, expires=60, max_retries=1, countdown=0.1):
    if self.request.retries:
        return self.request.delivery_info["priority"]
    raise self.retry(countdown=countdown, max_retries=max_retries)


@task(bind=True, max_retries=1)
def retry_once_headers(self, *args, max_retries=1, countdown=0.1):
    if self.request.retries:
        return self.request.headers
    raise self.retry(countdown=countdown, max_retries=max_retries)


@task(bind=True)
def retry_unpickleable(self, foo, bar, *, retry_kwargs):
    raise self.retry(exc=UnpickleableException(foo, bar), **retry_kwargs)


class AutoRetry(Task):
    """Known by a name without a module."""

    name = "auto_retry_class_task"
    autoretry_for = (ValueError,)
    max_retries = 1
    retry_backoff = True

    def run(self):
        if self.request.retries:
            return self.request.retries
        raise ValueError()


auto_retry_class_task = app.register_task(AutoRetry())


# --- the request ------------------------------------------------------------------------------------


@task(bind=True)
def ids(self, i):
    return [self.request.root_id, self.request.parent_id, i]


@task(bind=True)
def collect_ids(self, res, i):
    return [res, [self.request.root_id, self.request.parent_id, i]]


@task(bind=True)
def return_priority(self, *_):
    return "Priority: %s" % self.request.delivery_info["priority"]


@task(bind=True)
def return_properties(self):
    return self.request.properties


# --- what others can see ----------------------------------------------------------------------------


@task
def redis_echo(message, redis_key="redis-echo"):
    connection().rpush(redis_key, message)


@task
def redis_count(redis_key="redis-count"):
    connection().incr(redis_key)


@task
def errback_old_style(request_id):
    connection().incr(request_id)
    return request_id


@task
def errback_new_style(request, exc, tb):
    connection().incr(request.id)
    return request.id


# --- tasks that change their own workflow -----------------------------------------------------------


@task(bind=True)
def add_replaced(self, x, y):
    raise self.replace(add.s(x, y))


@task(bind=True)
def fail_replaced(self, *args):
    raise self.replace(fail.si(*args))


@task(bind=True)
def replace_with_chain(self, *args, link_msg=None):
    c = chain(identity.s(*args), identity.s())
    c.link(redis_echo.si(link_msg) if link_msg else redis_echo.s())
    return self.replace(c)


@task(bind=True)
def replace_with_chain_which_raises(self, *args, link_msg=None):
    c = chain(identity.s(*args), raise_error.s())
    c.link_error(redis_echo.si(link_msg) if link_msg else redis_echo.s())
    return self.replace(c)


@task(bind=True)
def replace_with_empty_chain(self, *_):
    return self.replace(chain())


@task(bind=True)
def add_to_all(self, nums, val):
    raise self.replace(group(add.s(num, val) for num in nums))


@task(bind=True)
def add_to_all_to_chord(self, nums, val):
    for num in nums:
        self.add_to_chord(add.s(num, val))
    return 0


@task(bind=True)
def add_chord_to_chord(self, nums, val):
    self.add_to_chord(chord([add.s(num, val) for num in nums], body=tsum.s()))
    return 0


@task(bind=True)
def second_order_replace1(self, state=False):
    connection().rpush("redis-echo", "Out A" if state else "In A")
    if not state:
        raise self.replace(chain(second_order_replace2.s(), second_order_replace1.si(state=True)))


@task(bind=True)
def second_order_replace2(self, state=False):
    connection().rpush("redis-echo", "Out B" if state else "In B")
    if not state:
        raise self.replace(chain(redis_echo.s("In/Out C"), second_order_replace2.si(state=True)))


@task(bind=True)
def build_chain_inside_task(self):
    canvas = chain(add.s(1, 1), add.s(2), group(add.s(3), add.s(4)), add.s(5))
    return canvas.apply_async().as_tuple()
