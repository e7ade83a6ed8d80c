import os

from celery.schedules import crontab

SECRET_KEY = "for the tests of one machine"
INSTALLED_APPS = ["products"]
USE_TZ = True
TIME_ZONE = "UTC"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "celeriac",
        "USER": "celeriac",
        "HOST": os.environ["SHOP_DATABASE_HOST"],
        "OPTIONS": {"options": "-c search_path=shop"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CELERY_BROKER_URL = os.environ["CELERY_BROKER_URL"]
CELERY_RESULT_BACKEND = os.environ["CELERY_RESULT_BACKEND"]
CELERY_BEAT_SCHEDULE = {
    "daily-report": {
        "task": "products.tasks.send_daily_report",
        "schedule": crontab(hour=9, minute=0),
    },
    "look-at-prices": {
        "task": "products.tasks.update_product_prices",
        "schedule": 1.0,
        "kwargs": {"percentage": 3, "dry_run": True},
    },
}
