"""Results in Django's own table: rows as Celery's worker writes them, read by Celery and by Django's admin."""
import datetime
import json
import os
import subprocess
import sys
import unittest
import uuid

from support.servers import Daemon, PostgresServer, RedisServer, celeriac_worker, temporary_folder, wait_until

PROJECT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "django_results")
PYTHON = "/usr/bin/python3"


class DjangoResults(unittest.TestCase):
    """Two workers with the same tasks: ours on the queue celery, Python's on the queue python."""

    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(temporary_folder("celeriac-results-"))
        cls.redis = cls.enterClassContext(RedisServer(cls.folder))
        cls.postgres = cls.enterClassContext(PostgresServer(cls.folder))
        os.environ.update(RESULTS_DATABASE_HOST=cls.postgres.folder, CELERY_BROKER_URL=cls.redis.url,
                          DJANGO_SETTINGS_MODULE="results_site.settings")
        os.environ.pop("CELERY_RESULT_BACKEND", None)
        done = subprocess.run([PYTHON, "manage.py", "migrate"], cwd=PROJECT, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)
        cls.ours = cls.enterClassContext(celeriac_worker(
            cls.redis, cls.folder, ["probe"], "-c", "2", "-n", "ours@test",
            environment={"CELERY_RESULT_BACKEND": "django-db", "CELERIAC_DATABASE_URL": cls.postgres.uri}))
        cls.theirs = cls.enterClassContext(Daemon(
            [PYTHON, "-m", "celery", "-A", "results_site", "worker", "--pool", "threads", "-c", "2", "-Q", "python", "-n",
             "theirs@test", "-l", "info"], cls.folder, "python", {"PYTHONPATH": PROJECT}, ready="ready."))
        sys.path.insert(0, PROJECT)
        import django

        django.setup()
        from django.db import connections
        from results_site.celery import app

        cls.app = app
        cls.addClassCleanup(connections.close_all)

    def send(self, task, args=(), kwargs=None, queue="celery", **options):
        return self.app.send_task(task, args, kwargs or {}, queue=queue, **options)

    def row(self, id, states=("SUCCESS", "FAILURE", "REVOKED")):
        from django_celery_results.models import TaskResult

        return wait_until(lambda: TaskResult.objects.filter(task_id=id, status__in=states).first(), 20, f"{states} of {id}")

    def comparable(self, row):
        """What does not differ from run to run."""
        text = {name: getattr(row, name) for name in (
            "periodic_task_name", "task_name", "task_args", "task_kwargs", "status", "content_type",
            "content_encoding", "result", "meta")}
        ids = {}

        def name_of(id):
            return ids.setdefault(id, f"id{len(ids)}")

        def replace(value):
            if isinstance(value, list):
                return [replace(item) for item in value]
            try:
                return name_of(str(uuid.UUID(value)))
            except (TypeError, ValueError, AttributeError):
                return value

        name_of(row.task_id)
        for column in ("result", "meta"):
            value = json.loads(text[column])
            if text[column].count("-") >= 4:  # there may be ids in it; else the text itself is compared
                text[column] = replace(value) if isinstance(value, list) else {k: replace(v) for k, v in value.items()}
        return {**text, "has_traceback": bool(row.traceback)}

    def both(self, *args, states=("SUCCESS", "FAILURE", "REVOKED"), **options):
        """The rows of the same call, ours and Python's, and a look at what must differ."""
        before = datetime.datetime.now(datetime.timezone.utc)
        results = [self.send(*args, queue=queue, **options) for queue in ("celery", "python")]
        ours, theirs = (self.row(result.id, states) for result in results)
        self.assertEqual((ours.worker, theirs.worker), ("ours@test", "theirs@test"))
        after = datetime.datetime.now(datetime.timezone.utc)
        for row in ours, theirs:
            self.assertLessEqual(before, row.date_created)
            self.assertLessEqual(row.date_created, row.date_done)
            self.assertLessEqual(row.date_done, after)
        return ours, theirs

    def test_rows_are_those_of_a_python_worker(self):
        past = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=1)
        for name, call, options in (
            ("success", ("tests.add", (2, 3)), {}),
            ("keywords", ("tests.add", (2,), {"y": 3, "z": 10**15}), {}),
            ("nothing", ("tests.noop",), {}),
            ("nested", ("tests.echo", ([1, [2.5, None, True, 1e300], {"a": {"b": "c"}}], "x"), {"key": "value"}), {}),
            ("unicode", ("tests.echo", ("Grüße – 注文 😀 \x00 \\ ' \"",), {"ключ": "\n"}), {}),
            ("failure", ("tests.fail", ("ValueError", "bo'om: \\é")), {}),
            ("key error", ("tests.fail", (), {"type": "KeyError", "text": "missing"}), {}),
            ("expired", ("tests.add", (1, 1)), {"expires": past}),
            ("tracked", ("tests.sleep_tracked", (1,)), {}),
            ("progress", ("tests.progress", (2, 1)), {}),
            ("children", ("tests.send", ("tests.noop",), {"count": 2}), {}),
            ("periodic", ("tests.add", (1, 2)), {"periodic_task_name": "every \"minute\" é"}),
            ("retries used up", ("tests.retry_always", ("ValueError", "again", 10)), {}),
            ("retry", ("tests.retry_always", ("ValueError", "again", 600000)), {"states": ("RETRY",)}),
        ):
            with self.subTest(name):
                ours, theirs = self.both(*call, **options)
                self.assertEqual(self.comparable(ours), self.comparable(theirs))

    def test_states_on_the_way_are_those_of_a_python_worker(self):
        ours, theirs = self.both("tests.sleep_tracked", (3000,), states=("STARTED",))
        begun = json.loads(ours.result)
        self.assertEqual(begun["hostname"], "ours@test")
        self.assertEqual(list(begun), list(json.loads(theirs.result)))
        self.assertEqual({**self.comparable(ours), "result": None}, {**self.comparable(theirs), "result": None})
        done = self.row(ours.task_id)
        self.assertEqual((done.status, done.id, done.date_created), ("SUCCESS", ours.id, ours.date_created))
        self.assertGreater(done.date_done, ours.date_done)
        ours, theirs = self.both("tests.progress", (20, 100), states=("PROGRESS",))
        self.assertEqual(list(json.loads(ours.result)), list(json.loads(theirs.result)))

    def test_celery_reads_them(self):
        self.assertEqual(self.send("tests.add", (20, 22)).get(timeout=20), 42)
        with self.assertRaises(ValueError) as caught:
            self.send("tests.fail", ("ValueError", "boom")).get(timeout=20)
        self.assertEqual(str(caught.exception), "boom")
        parent = self.send("tests.send", ("tests.noop",), {"count": 2})
        ids = parent.get(timeout=20)
        self.assertEqual(sorted(child.id for child in parent.children), sorted(ids))
        self.assertEqual(parent.worker, "ours@test")
        parent.forget()
        self.assertEqual(self.app.AsyncResult(parent.id).state, "PENDING")

    def test_delay_of_a_shared_task(self):
        from jobs.tasks import add

        self.assertEqual(add.delay(1, y=2).get(timeout=20), 3)

    def test_a_group_is_saved_by_django_and_read_from_our_rows(self):
        from celery import group
        from celery.result import GroupResult
        from django_celery_results.models import GroupResult as Row

        result = group(self.app.signature("tests.add", (n, n)) for n in range(10)).apply_async()
        result.save()
        self.assertEqual(GroupResult.restore(result.id, app=self.app).get(timeout=20), [2 * n for n in range(10)])
        self.assertEqual(Row.objects.filter(group_id=result.id).count(), 1)

    def test_what_is_not_wanted_has_no_row_and_redis_holds_none(self):
        from django_celery_results.models import TaskResult

        ignored = self.send("tests.ignored")
        last = self.send("tests.noop", queue="celery")
        self.row(last.id)
        wait_until(lambda: self.redis.client().hlen("celeriac:inflight:{celery}") == 0
                   and ignored.id in self.ours.text(), 10, "both ended")
        self.assertFalse(TaskResult.objects.filter(task_id=ignored.id).exists())
        self.assertEqual(list(self.redis.client().scan_iter("celery-task-meta-*")), [])

    def test_the_admin_shows_them(self):
        from django.contrib.auth.models import User
        from django.test import Client
        from django.urls import reverse

        User.objects.create_superuser("admin", "admin@example.com", "secret")
        client = Client()
        client.login(username="admin", password="secret")
        for row in self.row(self.send("tests.echo", ("Grüße",)).id), self.row(self.send("tests.fail").id):
            page = client.get(reverse("admin:django_celery_results_taskresult_changelist"), {"q": row.task_id})
            self.shows(page, row.task_id, row.task_name, row.status, "ours@test")
            page = client.get(reverse("admin:django_celery_results_taskresult_change", args=[row.id]))
            self.shows(page, row.task_id, row.task_args, row.result, row.meta)

    def shows(self, page, *texts):
        from django.utils.html import escape

        self.assertEqual(page.status_code, 200)
        for text in texts:
            self.assertIn(escape(text), page.content.decode())


if __name__ == "__main__":
    unittest.main()
