"""Results as rows of django-celery-results in PostgreSQL, instead of Redis and beside it: outages, stops, and
what may not be overwritten."""
import json
import os
import re
import signal
import uuid

from integration.worker.calls import WorkerTest, message
from support.servers import PostgresServer, celeriac_worker, temporary_folder, wait_until

# as the migrations of django-celery-results 2.4 leave it, without the indexes
TABLE = """CREATE TABLE django_celery_results_taskresult (id serial PRIMARY KEY, task_id varchar(255) NOT NULL UNIQUE,
 status varchar(50) NOT NULL, content_type varchar(128) NOT NULL, content_encoding varchar(64) NOT NULL, result text,
 date_done timestamptz NOT NULL, traceback text, meta text, task_args text, task_kwargs text, task_name varchar(255),
 worker varchar(100), date_created timestamptz NOT NULL, periodic_task_name varchar(255))"""
INSERT = ("INSERT INTO django_celery_results_taskresult (task_id, status, content_type, content_encoding, result, "
          "date_done, date_created) VALUES ('{}', '{}', 'application/json', 'utf-8', '\"before\"', now(), now())")


class RowsTest(WorkerTest):
    """One PostgreSQL for all; each test has a table of its own and may stop the server."""

    @classmethod
    def setUpClass(cls):
        cls.postgres = cls.enterClassContext(PostgresServer(cls.enterClassContext(temporary_folder("celeriac-rows-"))))

    def setUp(self):
        super().setUp()
        if not self.postgres.process:
            self.postgres.start()
        self.sql("DROP TABLE IF EXISTS django_celery_results_taskresult; " + TABLE)

    def sql(self, text):
        return self.postgres.sql(text)

    def row(self, id):
        """(status, result) of `id`, or None."""
        text = self.sql("SELECT json_build_array(status, result::json) FROM django_celery_results_taskresult "
                        f"WHERE task_id = '{id}'")
        return tuple(json.loads(text)) if text else None

    def wait_row(self, id, status, result=None, seconds=20):
        wait_until(lambda: (self.row(id) or [""])[0] == status, seconds, f"a row with {status} for {id}", 0.05)
        if result is not None:
            self.assertEqual(self.row(id)[1], result)

    def rows(self, status="SUCCESS"):
        return int(self.sql(f"SELECT count(*) FROM django_celery_results_taskresult WHERE status = '{status}'"))

    def instead(self, *arguments, uri=None, **options):
        return self.worker("--result-backend", "db+" + (uri or self.postgres.uri), *arguments, **options)

    def beside(self, *arguments, uri=None, **options):
        return self.worker(*arguments, environment={"CELERIAC_RESULT_TABLES": uri or self.postgres.uri}, **options)

    def report(self, worker, **numbers):
        """Waits until the worker's report has these numbers."""
        def reported():
            report = worker.report()
            return all(f" {key}={value} " in report for key, value in numbers.items())

        wait_until(reported, 20, f"a report with {numbers}", 0.1)

    def metas(self):
        return list(self.redis.scan_iter("celery-task-meta-*"))


class Instead(RowsTest):
    def test_an_outage_of_postgresql_loses_nothing_and_runs_nothing_twice(self):
        worker = self.instead("-c", "2")
        marks = os.path.join(self.folder, "marks")
        first = self.send("tests.add", 1, 2)
        self.wait_row(first, "SUCCESS", 3)
        self.postgres.stop()
        ids = [self.send("tests.count", marks) for _ in range(5)]
        wait_until(lambda: "Outcomes cannot be told" in worker.text(), 20, "it is noticed")
        wait_until(lambda: os.path.exists(marks) and os.path.getsize(marks) == 5, 20, "all of them ran")
        self.assertEqual(self.in_flight(), 5)
        self.postgres.start()
        for id in ids:
            self.wait_row(id, "SUCCESS", seconds=30)
        self.wait_idle()
        self.assertEqual(os.path.getsize(marks), 5)
        self.assertEqual(self.metas(), [])
        self.assertEqual(worker.stop(), 0)

    def test_a_restart_that_cuts_connections_costs_no_task(self):
        self.instead("-c", "2")
        ids = [self.send("tests.add", n, 1) for n in range(300)]
        for _ in range(3):
            self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'celeriac'")
        wait_until(lambda: self.rows() == len(ids), 60, "all rows", 0.1)
        results = self.sql("SELECT json_object_agg(task_id, result::json) FROM django_celery_results_taskresult")
        self.assertEqual(json.loads(results), {id: n + 1 for n, id in enumerate(ids)})
        self.wait_idle()

    def test_success_stands_and_a_late_state_covers_nothing_final(self):
        self.instead("-c", "2")
        done, failed = str(uuid.uuid4()), str(uuid.uuid4())
        self.sql(INSERT.format(done, "SUCCESS"))
        self.sql(INSERT.format(failed, "FAILURE"))
        self.send("tests.fail", id=done)
        self.send("tests.sleep_tracked", 1500, id=failed)
        tracked = self.send("tests.sleep_tracked", 1500)
        self.wait_row(tracked, "STARTED")
        self.assertEqual(self.row(failed)[0], "FAILURE")
        self.wait_row(tracked, "SUCCESS")
        self.wait_row(failed, "SUCCESS")
        self.wait_idle()
        self.assertEqual(self.row(done), ("SUCCESS", "before"))

    def test_who_lost_its_claim_writes_no_row(self):
        worker = self.instead("-c", "1")
        id = self.send("tests.sleep", 1500)
        self.running(worker, id)
        wait_until(lambda: self.in_flight() == 1, 10, "it is in flight")
        for key in self.redis.scan_iter("celeriac:inflight:*"):
            self.redis.delete(key)
        wait_until(lambda: "The claim was lost" in worker.text(), 20, "it is noticed")
        self.assertIsNone(self.row(id))

    def test_once_looks_at_the_row(self):
        marks = os.path.join(self.folder, "marks")
        worker = self.instead("-c", "1")
        done, new = str(uuid.uuid4()), str(uuid.uuid4())
        self.sql(INSERT.format(done, "SUCCESS"))
        for id in done, new:
            self.redis.lpush("celery", message("tests.count_once", marks, id=id, redelivered=True)[1])
        self.wait_row(new, "SUCCESS")
        wait_until(lambda: "Task has its result already" in worker.text(), 10, "one is skipped")
        self.assertEqual(os.path.getsize(marks), 1)

    def test_a_retry_and_an_early_acknowledgement(self):
        self.instead("-c", "1")
        retried = self.send("tests.retry", 100, 2)
        early = self.send("tests.count_early", os.path.join(self.folder, "marks"))
        self.wait_row(retried, "SUCCESS", 2)
        self.wait_row(early, "SUCCESS")
        self.wait_idle()

    def test_what_a_rescuer_buries_has_a_row(self):
        config = os.path.join(self.folder, "celeriac.ini")
        with open(config, "w") as file:
            file.write(f"[celeriac]\nresult_backend = db+{self.postgres.uri}\n[worker]\nmax_deliveries = 1\nlease = 2s\n")
        lost = self.worker("-c", "1", "--config", config, name="lost")
        id = self.send("tests.sleep", 60000, celeriac_deliveries=1)
        self.running(lost, id)
        lost.stop(signal.SIGKILL)
        self.worker("-c", "1", "--config", config)
        self.wait_row(id, "FAILURE", seconds=40)
        self.assertEqual(self.row(id)[1]["exc_type"], "WorkerLostError")
        self.assertEqual(self.sql(f"SELECT task_name, worker FROM django_celery_results_taskresult WHERE task_id = '{id}'"),
                         "tests.sleep|")

    def test_a_table_that_is_not_there_yet_is_waited_for(self):
        self.sql("DROP TABLE django_celery_results_taskresult")
        worker = self.instead("-c", "1")
        id = self.send("tests.add", 1, 1)
        wait_until(lambda: "django_celery_results_taskresult" in worker.text(), 20, "it is named")
        self.assertEqual(self.in_flight(), 1)
        self.sql(TABLE)
        self.wait_row(id, "SUCCESS", 2)

    def test_a_message_without_reprs_shows_its_arguments(self):
        self.instead("-c", "1")
        _, text = message("tests.echo", 1, "x", kwargs={"a": None}, id="plain")
        envelope = json.loads(text)
        del envelope["headers"]["argsrepr"], envelope["headers"]["kwargsrepr"]
        self.redis.lpush("celery", json.dumps(envelope))
        self.wait_row("plain", "SUCCESS")
        self.assertEqual(self.sql("SELECT task_args, task_kwargs FROM django_celery_results_taskresult"),
                         '[1, "x"]|{"a": null}')

    def test_zero_bytes_are_replaced_also_at_the_end_of_a_long_text(self):
        self.instead("-c", "1")
        for name, shown in (("\0each\0\0hour\0", "\ufffdeach\ufffd\ufffdhour\ufffd"), ("x" * 4_000_000 + "\0", "x" * 255)):
            id, text = message("tests.noop")
            envelope = json.loads(text)
            envelope["properties"]["periodic_task_name"] = name
            self.redis.lpush("celery", json.dumps(envelope))
            self.wait_row(id, "SUCCESS")
            self.assertEqual(self.sql("SELECT periodic_task_name FROM django_celery_results_taskresult "
                                      f"WHERE task_id = '{id}'"), shown)

    def test_settings_that_cannot_be_used(self):
        for environment, words in (
            ({"CELERY_RESULT_BACKEND": "django-db"}, 'no database "default"'),
            ({"CELERY_RESULT_BACKEND": "db+postgresql+psycopg2://u:hunter2@h/d"}, "not a PostgreSQL URI"),
            ({"CELERIAC_RESULT_TABLES": "postgresql://u:hunter2@h:x/d?nonsense=1"}, "result_tables"),
            ({"CELERY_RESULT_BACKEND": "django-db", "CELERIAC_DATABASE_URL": self.postgres.uri,
              "CELERIAC_RESULT_TABLES": self.postgres.uri}, "for results in Redis"),
        ):
            with self.subTest(words):
                worker = celeriac_worker(self.server, self.folder, ["probe"], name="refused", environment=environment)
                worker.ready = None
                worker.start()
                self.assertEqual(worker.wait(), 78)
                worker.stop()
                self.assertIn(words, worker.text(worker.before))
                self.assertNotIn("hunter2", worker.text())

    def test_the_password_is_never_shown(self):
        uri = f"postgresql://celeriac:hunter2@/nowhere?host={self.postgres.folder}"
        worker = self.instead("-c", "1", uri=uri)
        self.send("tests.noop")
        wait_until(lambda: "nowhere" in worker.text(), 20, "the failure is told")
        worker.report()
        self.assertNotIn("hunter2", worker.text())


class Beside(RowsTest):
    def test_redis_answers_and_the_rows_follow(self):
        worker = self.beside("-c", "2")
        id = self.send("tests.add", 2, 2)
        failed = self.send("tests.fail")
        self.assertEqual(self.get(id), 4)
        self.wait_row(id, "SUCCESS", 4)
        self.wait_row(failed, "FAILURE")
        retried = self.send("tests.retry", 50, 2)
        self.wait_row(retried, "SUCCESS", 2)
        self.report(worker, rows_kept=0, rows_lost=0)

    def test_an_outage_holds_nothing_up_and_what_is_kept_is_written(self):
        self.postgres.stop()
        worker = self.beside("-c", "2")
        ids = [self.send("tests.add", n, 0) for n in range(20)]
        for n, id in enumerate(ids):
            self.assertEqual(self.get(id), n)
        self.wait_idle()
        self.report(worker, rows_kept=20, rows_lost=0)
        self.postgres.start()
        wait_until(lambda: self.rows() == 20, 20, "all rows", 0.05)

    def test_what_does_not_fit_is_counted(self):
        self.postgres.stop()
        worker = self.beside("-c", "2", "-l", "warning")
        with self.redis.pipeline(transaction=False) as pipe:
            for _ in range(10025):
                pipe.lpush("celery", message("tests.noop")[1])
            pipe.execute()
        self.wait_idle(120)
        worker.says("Rows of results are lost", 1)
        self.postgres.start()
        wait_until(lambda: "Rows of results were lost" in worker.text(), 60, "the loss is told")
        wait_until(lambda: self.rows() == 10000, 60, "what was kept is written", 0.1)
        self.assertRegex(worker.text(), r"Rows of results were lost\S* rows=25\b")

    def test_a_warm_stop_writes_what_is_kept(self):
        worker = self.beside("-c", "2")
        for _ in range(500):
            self.send("tests.noop")
        wait_until(lambda: self.rows() > 0, 20, "the first row", 0.002)
        self.assertEqual(worker.stop(), 0)
        ended = len(self.metas())
        self.assertEqual(self.rows(), ended)
        self.assertEqual(self.waiting() + ended, 500)

    def test_a_stop_while_postgresql_is_away_tells_how_many_are_lost(self):
        self.postgres.stop()
        worker = self.beside("-c", "1")
        ids = [self.send("tests.noop") for _ in range(7)]
        for id in ids:
            self.get(id)
        self.report(worker, rows_kept=7)
        self.assertEqual(worker.stop(), 0)
        self.assertRegex(worker.text(), r"Rows of results were lost\S* rows=7\b")

    def test_a_row_that_is_refused_holds_up_no_other(self):
        self.sql("ALTER TABLE django_celery_results_taskresult ADD CHECK (task_name <> 'tests.noop')")
        worker = self.beside("-c", "2")
        ids = [(self.send("tests.noop"), self.send("tests.add", n, 0)) for n in range(50)]
        for n, (_, id) in enumerate(ids):
            self.wait_row(id, "SUCCESS", n)
        self.report(worker, rows=50, rows_lost=50, rows_kept=0)
        self.assertTrue(re.search(r"Rows of results are lost.*violates check", worker.text()))

    def test_where_redis_spared_what_stood_the_row_says_that(self):
        """Redis has run what it was told and its answer was lost: the failure that is told then covers nothing."""
        worker = self.beside("-c", "2")
        sends = self.send("tests.send_early", 700, "tests.noop")
        retries = self.send("tests.retry_early", 700, 60000)
        for id in sends, retries:
            self.running(worker, id)
        wait_until(lambda: self.in_flight() == 0, 5, "acknowledged")
        self.addCleanup(self.server.process.send_signal, signal.SIGCONT)
        self.server.process.send_signal(signal.SIGSTOP)
        worker.says("it is not known whether Redis has what follows", 2, 15)
        self.server.process.send_signal(signal.SIGCONT)
        worker.says("Outcomes are told again")
        self.wait_idle()
        self.assertEqual(self.result(sends)["status"], "SUCCESS")
        self.assertEqual(self.result(retries)["status"], "RETRY")
        self.wait_row(sends, "SUCCESS")
        self.wait_row(retries, "RETRY")


del RowsTest, WorkerTest
