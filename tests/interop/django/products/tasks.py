"""The names that views call. The work is done by a worker that has the tasks."""
from celery import shared_task


@shared_task(bind=True, max_retries=3)
def process_order(self, order_id):
    raise NotImplementedError


@shared_task
def send_email_notification(subject, message, recipient_list):
    raise NotImplementedError


@shared_task
def update_product_prices(percentage=5, category=None, dry_run=False):
    raise NotImplementedError


@shared_task
def send_daily_report(day=None):
    raise NotImplementedError
