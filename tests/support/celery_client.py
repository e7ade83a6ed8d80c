"""Celery's client in tests."""
import gc

from celery.result import AsyncResult


def take_leave(app):
    """Lets go of all results that were waited for, while their server is still there: otherwise each complains at the
    end of the program that it cannot unsubscribe."""
    for result in gc.get_objects():
        if isinstance(result, AsyncResult):
            app.backend.remove_pending_result(result)
    del result
    gc.collect()
