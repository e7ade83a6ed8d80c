"""A Django project, written as users write theirs, whose tasks run in a Celeriac worker."""
import gc
import os
import subprocess
import sys
import tempfile
import time
import unittest
from email import message_from_binary_file, policy

from support import shop
from support.servers import PostgresServer, RedisServer, temporary_folder, wait_until

PROJECT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "django")


class DjangoProject(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(temporary_folder("celeriac-django-"))
        cls.redis = cls.enterClassContext(RedisServer(cls.folder))
        cls.postgres = cls.enterClassContext(PostgresServer(cls.folder))
        shop.prepare(cls.postgres)
        cls.worker = cls.enterClassContext(shop.worker(cls.redis, cls.postgres, cls.folder, "-c", "2"))
        cls.addClassCleanup(gc.collect)  # results that were never read let go of Redis while it is there
        os.environ.update(
            SHOP_DATABASE_HOST=cls.postgres.folder,
            CELERY_BROKER_URL=cls.redis.url,
            CELERY_RESULT_BACKEND=cls.redis.url,
            DJANGO_SETTINGS_MODULE="shop_site.settings",
        )
        sys.path.insert(0, PROJECT)
        import django

        django.setup()

    def test_delay_runs_the_order_in_the_worker(self):
        from products.models import Order
        from products.services import place_order

        answer = place_order(1).get(timeout=20)
        self.assertEqual(answer["order_id"], 1)
        self.assertEqual(answer["status"], "processed")
        self.assertEqual(Order.objects.get(id=1).status, "processed")
        self.assertEqual(answer["total"], str(Order.objects.get(id=1).total))

    def test_a_second_delivery_of_a_processed_order_changes_nothing(self):
        from products.services import place_order

        place_order(2).get(timeout=20)
        state = "SELECT xmin, * FROM shop.\"order\" WHERE id = 2"
        before = self.postgres.psql(state).stdout
        self.assertEqual(place_order(2).get(timeout=20)["status"], "processed")
        self.assertEqual(self.postgres.psql(state).stdout, before)
        self.assertEqual(shop.broken_rules(self.postgres), [])

    def test_countdown_is_honoured(self):
        from products.services import place_order

        begun = time.monotonic()
        result = place_order(3, when=1.5)
        result.get(timeout=20)
        self.assertGreaterEqual(time.monotonic() - begun, 1.5)

    def test_keyword_arguments_and_defaults(self):
        from products.tasks import update_product_prices

        one = update_product_prices.delay(percentage=10, category="electronics", dry_run=True).get(timeout=20)
        every = update_product_prices.delay(dry_run=True).get(timeout=20)
        self.assertTrue(one["dry_run"])
        self.assertLess(one["count"], every["count"])
        expected = self.postgres.sql(
            "SELECT count(*) || ' ' || sum(price) || ' ' || sum(round(price * 1.05, 2)) FROM shop.product"
            " WHERE round(price * 1.05, 2) <> price")
        self.assertEqual(f"{every['count']} {every['old_total']} {every['new_total']}", expected)

    def test_a_missing_order_is_a_failure_with_a_clear_text(self):
        from products.tasks import process_order

        with self.assertRaises(LookupError) as caught:
            process_order.delay(10**9).get(timeout=20)
        self.assertEqual(str(caught.exception), "order 1000000000 does not exist")

    def test_wrong_arguments_are_pythons_type_error(self):
        from shop_site.celery import app

        result = app.send_task("products.tasks.process_order", kwargs={"order": 1})
        with self.assertRaises(TypeError) as caught:
            result.get(timeout=20)
        self.assertEqual(str(caught.exception), "process_order() got an unexpected keyword argument 'order'")
        with self.assertRaises(TypeError):
            app.send_task("products.tasks.process_order", ["seven"]).get(timeout=20)

    def test_a_group_of_orders_comes_back_whole(self):
        from celery import group
        from products.tasks import process_order

        answers = group(process_order.s(order) for order in range(20, 40)).apply_async().get(timeout=30)
        self.assertEqual([answer["order_id"] for answer in answers], list(range(20, 40)))

    def test_canvases_of_the_shop_run(self):
        from celery import chain, chord
        from products.tasks import process_order, send_daily_report

        report = send_daily_report.si()
        canvases = (chain(process_order.s(60), report), chord([process_order.s(61)], report),
                    process_order.s(62).set(link=report), process_order.s(63).set(link_error=report))
        for canvas in canvases:
            with self.subTest(canvas=canvas):
                result = canvas.apply_async()
                result.get(timeout=20)
                for child in result.children or ():
                    child.get(timeout=20)
        self.assertEqual(self.postgres.sql('SELECT DISTINCT status FROM shop."order" WHERE id BETWEEN 60 AND 63'), "processed")
        self.assertEqual(self.redis.client().xlen("celeriac:dead:{celery}"), 0)

    def test_mail_with_unicode_subject_reaches_all_recipients(self):
        from products.tasks import send_email_notification

        recipients = ["anna@example.com", "bo@example.com"]
        result = send_email_notification.delay("Grüße – 注文", "Zeile eins\nline two ✓", recipients)
        self.assertEqual(result.get(timeout=20), 2)
        with open(os.path.join(self.folder, "mails", result.id + ".eml"), "rb") as file:
            mail = message_from_binary_file(file, policy=policy.default)
        self.assertEqual(mail["subject"], "Grüße – 注文")
        self.assertEqual([address.addr_spec for address in mail["to"].addresses], recipients)
        self.assertEqual(mail.get_content().replace("\r\n", "\n").rstrip("\n"), "Zeile eins\nline two ✓")

    def test_header_injection_is_refused(self):
        from products.tasks import send_email_notification

        for subject, recipients in (("Hello\r\nBcc: x@example.com", ["a@example.com"]),
                                    ("Hello", ["a@example.com\r\nBcc: x@example.com"]),
                                    ("Hello", ["a@example.com>, <x@example.com"]),
                                    ("Hello", [])):
            with self.subTest(subject=subject, recipients=recipients), self.assertRaises(ValueError):
                send_email_notification.delay(subject, "text", recipients).get(timeout=20)

    def test_report_of_a_day(self):
        from products.services import place_order
        from products.tasks import send_daily_report

        place_order(50).get(timeout=20)
        today = self.postgres.sql("SELECT (now() AT TIME ZONE 'UTC')::date")
        result = send_daily_report.delay(day=today)
        answer = result.get(timeout=20)
        self.assertEqual(answer["day"], today)
        self.assertGreaterEqual(answer["orders"], 1)
        with open(os.path.join(self.folder, "mails", result.id + ".eml"), "rb") as file:
            mail = message_from_binary_file(file, policy=policy.default)
        self.assertIn("owner@example.com", mail["to"])
        attachment = next(mail.iter_attachments())
        self.assertEqual(attachment.get_filename(), f"top-products-{today}.csv")
        self.assertTrue(attachment.get_content().startswith("product,sold,revenue"))

    def test_python_beat_with_a_schedule_in_settings(self):
        from products import tasks  # noqa: F401

        with tempfile.TemporaryDirectory() as state:
            beat = subprocess.Popen(
                ["/usr/bin/python3", "-m", "celery", "-A", "shop_site", "beat", "-s", os.path.join(state, "schedule")],
                cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            try:
                before = self.worker.text().count("update_product_prices")
                wait_until(lambda: self.worker.text().count("update_product_prices") >= before + 4, 30,
                           "two firings of the Python beat run in the worker")
            finally:
                beat.terminate()
                beat.wait()


if __name__ == "__main__":
    unittest.main()
