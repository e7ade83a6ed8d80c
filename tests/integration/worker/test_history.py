"""The ledger: what became of each attempt stands in PostgreSQL, and nothing waits for that."""
import json
import os
import re
import signal
import threading
import time
import unittest
import uuid

from integration.worker.calls import WorkerTest, children_of, iso, message
from support.pg_proxy import PgProxy
from support.servers import PostgresServer, celeriac, revoke, temporary_folder, wait_until


def setUpModule():
    LedgerTest.postgres = unittest.enterModuleContext(
        PostgresServer(unittest.enterModuleContext(temporary_folder("celeriac-ledger-"))))


class LedgerTest(WorkerTest):
    """One PostgreSQL for all tests, with fresh tables for each."""

    def setUp(self):
        super().setUp()
        if not self.postgres.process:
            self.postgres.start()
        self.sql("DROP SCHEMA IF EXISTS celeriac CASCADE")
        celeriac("migrate", "--database", self.postgres.uri, check=True)

    def sql(self, text):
        return self.postgres.sql(text)

    def number(self, text):
        return int(self.sql("SELECT " + text))

    def worker(self, *arguments, ledger="full", settings="", **options):
        path = os.path.join(self.folder, options.get("name", "worker") + ".ini")
        with open(path, "w") as file:
            file.write("[worker]\n" + settings)
        return super().worker("--config", path, "--ledger", ledger, *arguments,
                              **{"postgres": self.postgres, **options})

    def rows(self, id, count=1):
        """The rows of `id`, the first attempt first, once there are so many."""
        def found():
            rows = json.loads(self.sql("SELECT coalesce(json_agg(l ORDER BY ended_at), '[]') FROM celeriac.ledger AS l "
                                       f"WHERE task_id = '{id}'"))
            return rows if len(rows) >= count else None

        rows = wait_until(found, 20, f"{count} rows of {id}", 0.05)
        self.assertEqual(len(rows), count)
        return rows

    def history(self, *arguments):
        done = celeriac("history", "--database", self.postgres.uri, *arguments)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return done

    def report(self, worker, field):
        return int(re.search(rf"msg=Report .*{field}=(\d+)", worker.report())[1])

    def push(self, count, task="tests.ignored"):
        ids = []
        for start in range(0, count, 500):
            batch = [message(task) for _ in range(min(500, count - start))]
            ids += [id for id, _ in batch]
            self.redis.lpush("celery", *[text for _, text in batch])
        return ids


class Outcomes(LedgerTest):
    def test_a_success(self):
        self.worker("-c", "1", "-n", "first@here")
        id = self.send("tests.sleep", 200)
        self.get(id)
        [row] = self.rows(id)
        self.assertEqual({key: row[key] for key in ("task", "queue", "node", "outcome", "error", "signal", "retries")},
                         {"task": "tests.sleep", "queue": "celery", "node": "first@here", "outcome": "succeeded",
                          "error": None, "signal": None, "retries": 0})
        self.assertGreater(row["peak_rss"], 10**6)
        self.assertEqual(self.sql("SELECT received_at <= started_at AND ended_at - started_at BETWEEN '0.19s' AND '10s' "
                                  "AND now() - ended_at BETWEEN '0s' AND '1min' FROM celeriac.ledger"), "t")

    def test_failures_retries_and_those_whose_result_nobody_wants(self):
        worker = self.worker("-c", "1")
        failed = self.send("tests.fail", "ValueError", 'it\'s "so" \\ {bad}, (really)\nünd')
        quiet = self.send("tests.fail", "KeyError", "x", ignore_result=True)
        retried = self.send("tests.retry_always", "OSError", "away")
        ignored = self.send("tests.return_code", 1)
        [row] = self.rows(failed)
        self.assertEqual((row["outcome"], row["error"]), ("failed", 'ValueError: it\'s "so" \\ {bad}, (really)\nünd'))
        self.assertIn(row["pid"], children_of(worker.pid))
        [row] = self.rows(quiet)
        self.assertEqual(row["outcome"], "failed")
        self.assertIn("KeyError", row["error"])
        self.assertIsNone(self.redis.get("celery-task-meta-" + quiet))
        rows = self.rows(retried, 3)
        self.assertEqual([(row["outcome"], row["error"], row["retries"]) for row in rows],
                         [("retried", "OSError: away", 0), ("retried", "OSError: away", 1), ("failed", "OSError: away", 2)])
        self.rows(ignored)

    def test_deaths(self):
        self.worker("-c", "1")
        crashed, limited, early = (self.send("tests.crash", "segv"), self.send("tests.hard_limited"),
                                   self.send("tests.sleep_early", 60000, timelimit=[0.2, None]))
        first, last = self.rows(crashed, 2)
        self.assertEqual((first["outcome"], first["signal"], first["error"]), ("redelivered", 11, "signal 11 (SIGSEGV)"))
        self.assertEqual((last["outcome"], last["signal"]), ("buried", 11))
        self.assertRegex(last["error"], r"^crash: Worker exited prematurely: signal 11 \(SIGSEGV\)")
        self.assertNotEqual(first["pid"], last["pid"])
        self.assertGreater(min(first["peak_rss"], last["peak_rss"]), 10**6)
        for id in (limited, early):
            [row] = self.rows(id)
            self.assertEqual((row["outcome"], row["signal"]), ("failed", 9))
            self.assertIn("TimeLimitExceeded", row["error"])

    def test_what_is_not_run(self):
        self.worker("-c", "1")
        expired, unknown = self.send("tests.noop", expires=iso(-5)), self.send("tests.unheard_of")
        revoked, late = str(uuid.uuid4()), self.send("tests.noop", eta=iso(1.5))
        revoke(self.redis, revoked)
        self.send("tests.noop", id=revoked)
        self.redis.lpush("celery", b"no message")
        for id, outcome in ((expired, "expired"), (revoked, "revoked"), (unknown, "buried")):
            [row] = self.rows(id)
            self.assertEqual((row["outcome"], row["started_at"], row["pid"]), (outcome, None, None))
        [row] = self.rows(late)  # none while it waited for its time
        self.assertEqual(row["outcome"], "succeeded")
        wait_until(lambda: self.number("count(*) FROM celeriac.ledger WHERE task_id IS NULL AND outcome = 'buried'") == 1,
                   10, "the row of what is no message")

    def test_what_is_terminated_or_given_back(self):
        worker = self.worker("-c", "2")
        ended, stopped = self.send("tests.sleep", 60000), self.send("tests.sleep", 60001)
        for id in (ended, stopped):
            self.running(worker, id)
        celeriac("revoke", "--terminate", ended, redis=self.server, check=True)
        [row] = self.rows(ended)
        self.assertEqual((row["outcome"], row["signal"]), ("revoked", 15))
        self.assertEqual(worker.stop(signal.SIGQUIT), 0)
        [row] = self.rows(stopped)
        self.assertEqual((row["outcome"], row["signal"]), ("given back", 15))

    def test_what_was_lost_with_the_lease(self):
        first = self.worker("-c", "1", "--lease", "2s", name="first")
        id = self.send("tests.sleep", 6000)
        self.running(first, id)
        wait_until(lambda: self.redis.keys("celeriac:inflight:*"), 5, "in flight")
        os.kill(first.pid, signal.SIGSTOP)
        try:
            second = self.worker("-c", "1", "--lease", "2s", "-n", "second@here", name="second")
            self.running(second, id, 20)
        finally:
            os.kill(first.pid, signal.SIGCONT)
        lost, done = self.rows(id, 2)
        self.assertEqual((lost["outcome"], done["outcome"], done["node"]), ("lost", "succeeded", "second@here"))


class Away(LedgerTest):
    def test_rows_wait_for_postgresql_and_tasks_do_not(self):
        worker = self.worker("-c", "2", "-l", "info")
        self.rows(self.send("tests.noop"))
        for round in range(3):
            self.postgres.stop()
            ids = self.push(1000)
            self.wait_idle(30)
            wait_until(lambda: worker.text().count("The ledger cannot be written") == round + 1, 10, "a warning")
            self.postgres.start()
            wait_until(lambda: self.number("count(DISTINCT task_id) FROM celeriac.ledger") == 1001 + 1000 * round, 20, "rows")
        wait_until(lambda: worker.text().count("The ledger is written again") == 3, 10, "a sentence")
        self.assertEqual(self.number("count(*) FROM celeriac.ledger"), 3001)
        self.assertEqual(self.sql("SELECT attempts, lost FROM celeriac.ledger_node"), "3001|0")
        self.assertEqual(self.report(worker, "ledger_written"), 3001)
        self.assertEqual(self.report(worker, "ledger_lost"), 0)

    def test_what_does_not_fit_is_counted_and_shown(self):
        worker = self.worker("-c", "1", "-l", "info", settings="ledger_backlog = 10\n")
        self.rows(self.send("tests.noop"))
        self.postgres.stop()
        self.push(500)
        self.wait_idle(30)
        lost, waiting = self.report(worker, "ledger_lost"), self.report(worker, "ledger_waiting")
        self.assertEqual(waiting, 10)
        wait_until(lambda: "The ledger's backlog is full" in worker.text(), 10, "a warning")
        self.postgres.start()
        wait_until(lambda: self.number("count(*) FROM celeriac.ledger") >= 11, 20, "the rows")
        kept = self.number("count(*) FROM celeriac.ledger")
        self.assertEqual(kept + lost, 501)
        self.assertEqual(self.sql("SELECT attempts, lost FROM celeriac.ledger_node"), f"{kept}|{lost}")
        wait_until(lambda: f"Attempts were lost to the ledger\" so_far={lost}" in worker.text(), 10, "a sentence")
        done = self.history()
        self.assertIn(f"{lost} attempts are missing", done.stderr)
        self.assertEqual(done.stdout.count("succeeded"), kept)

    def test_an_answer_that_is_lost_makes_no_row_twice(self):
        proxy = PgProxy(self.folder, self.postgres).start()
        self.addCleanup(proxy.stop)
        self.worker("-c", "1", "--database", proxy.uri, postgres=None)
        for count, what in enumerate(("answer", "message", "answer"), 1):
            proxy.lose("tests.noop", what)  # the row; a prepared statement is not named by its text
            self.rows(self.send("tests.noop"))
            self.assertEqual(proxy.lost, count)
        self.rows(self.send("tests.noop"))
        self.assertEqual(self.sql("SELECT attempts, batch FROM celeriac.ledger_node"), "4|4")

    def test_what_cannot_be_written_ever_is_given_up_and_counted(self):
        self.sql("ALTER TABLE celeriac.ledger ADD CHECK (task <> 'tests.echo')")
        worker = self.worker("-c", "1")
        self.get(self.send("tests.echo"))
        wait_until(lambda: self.sql("SELECT attempts, lost FROM celeriac.ledger_node") == "0|1", 20, "the count")
        worker.says("they are lost to it")
        self.rows(self.send("tests.noop"))

    def test_tables_that_are_made_later(self):
        self.sql("DROP SCHEMA celeriac CASCADE")
        worker = self.worker("-c", "1")
        id = self.send("tests.noop")
        self.get(id)
        wait_until(lambda: "The ledger cannot be written (celeriac migrate makes it)" in worker.text(), 10, "a warning")
        celeriac("migrate", "--database", self.postgres.uri, check=True)
        self.rows(id)

    def test_a_database_that_is_not_there_is_said_at_the_start(self):
        done = celeriac("worker", "-A", "x.so", "--ledger", "full", redis=self.server)
        self.assertEqual((done.returncode, done.stderr), (78, 'celeriac: worker: no database "default" for the ledger\n'))


class End(LedgerTest):
    def test_a_stop_writes_what_is_there(self):
        worker = self.worker("-c", "2")
        ids = self.push(700)
        self.wait_idle()
        running = self.send("tests.sleep", 300)
        self.running(worker, running)
        self.assertEqual(worker.stop(), 0)
        self.assertEqual(self.number("count(DISTINCT task_id) FROM celeriac.ledger"), len(ids) + 1)

    def test_a_stop_without_postgresql_ends_and_says_what_is_lost(self):
        worker = self.worker("-c", "1")
        self.rows(self.send("tests.noop"))
        self.postgres.stop()
        self.push(5)
        self.wait_idle()
        begun = time.monotonic()
        self.assertEqual(worker.stop(seconds=40), 0)
        self.assertLess(time.monotonic() - begun, 15)
        self.assertRegex(worker.text(), "Attempts were not written to the ledger.* attempts=5 ")

    def test_a_stop_while_postgresql_restarts_waits_for_it(self):
        worker = self.worker("-c", "1")
        self.rows(self.send("tests.noop"))
        self.postgres.stop()
        self.push(5)
        self.wait_idle()
        worker.send_signal(signal.SIGTERM)
        self.postgres.start()
        self.assertEqual(worker.wait(), 0)
        lost = re.search(r"Attempts were not written to the ledger.* attempts=(\d+)", worker.text())
        # five seconds are enough for a start but on a machine that is very slow
        self.assertEqual(self.number("count(*) FROM celeriac.ledger") + (int(lost[1]) if lost else 0), 6)


class Several(LedgerTest):
    def test_two_workers_at_once_and_their_history(self):
        for name in ("one", "two"):
            self.worker("-c", "1", "-n", name + "@here", name=name)
        ids = self.push(2000)
        failed = self.send("tests.fail")
        self.wait_idle(30)
        self.rows(failed)
        wait_until(lambda: self.number("count(*) FROM celeriac.ledger") == 2001, 20, "the rows")
        self.assertEqual(self.number("count(DISTINCT task_id) FROM celeriac.ledger"), 2001)
        self.assertEqual(self.number("sum(attempts) FROM celeriac.ledger_node"), 2001)
        nodes = dict(line.split("|") for line in self.sql("SELECT node, count(*) FROM celeriac.ledger GROUP BY node").split())
        self.assertEqual(set(nodes), {"one@here", "two@here"})

        def ids_of(*arguments):
            return [row["task_id"] for row in json.loads(self.history("--json", *arguments).stdout)]

        self.assertEqual(ids_of("--id", ids[7]), [ids[7]])
        self.assertEqual(ids_of("--outcome", "failed"), [failed])
        self.assertEqual(ids_of("--task", "*.f?il"), [failed])
        self.assertEqual(ids_of("--task", "tests%fail"), [])
        self.assertEqual(len(ids_of()), 100)
        self.assertEqual(len(ids_of("--limit", "0", "--since", "1h")), 2001)
        self.assertEqual(len(ids_of("--limit", "0", "--node", "one@here")), int(nodes["one@here"]))
        self.assertEqual(ids_of("--since", "2100-01-01"), [])
        done = self.history("--outcome", "failed")
        self.assertRegex(done.stdout, rf"(?m)^ended +outcome +task +.*error\n.* failed +tests.fail +{failed} +celery .* ValueError: boom$")
        self.assertEqual(self.history("--id", "nobody").returncode, 1)
        done = celeriac("history", "--database", self.postgres.uri, "--since", "soon")
        self.assertEqual(done.returncode, 2)
        self.assertIn("neither a duration", done.stderr)
        [row] = json.loads(self.history("--json", "--id", failed).stdout)
        self.assertEqual((row["error"], row["retries"], row["signal"]), ("ValueError: boom", 0, None))
        sums = {(row["task"], row["outcome"]): row["attempts"] for row in json.loads(self.history("--json", "--sums").stdout)}
        self.assertEqual(sums, {("tests.ignored", "succeeded"): 2000, ("tests.fail", "failed"): 1})

    def test_sums_of_two_workers(self):
        for name in ("one", "two"):
            self.worker("-c", "1", "-n", name + "@here", ledger="summary", name=name)
        self.push(1000)
        for _ in range(4):
            self.send("tests.sleep", 100)
        self.send("tests.fail")
        self.wait_idle(30)
        wait_until(lambda: self.number("coalesce(sum(attempts), 0) FROM celeriac.ledger_summary") == 1005, 30, "the sums")
        self.assertEqual(self.number("count(*) FROM celeriac.ledger"), 0)
        self.assertEqual(self.number("sum(attempts) FROM celeriac.ledger_node"), 1005)
        sums = {row["task"]: row for row in json.loads(self.history("--json", "--sums", "--since", "1h").stdout)}
        self.assertEqual((sums["tests.sleep"]["attempts"], sums["tests.sleep"]["outcome"]), (4, "succeeded"))
        self.assertGreater(sums["tests.sleep"]["total"], 0.39)
        self.assertAlmostEqual(sums["tests.sleep"]["average"], sums["tests.sleep"]["total"] / 4, delta=0.01)
        self.assertEqual(sums["tests.fail"]["outcome"], "failed")

    def test_sums_outlast_postgresql(self):
        worker = self.worker("-c", "1", ledger="summary")
        self.postgres.stop()
        self.push(300)
        self.wait_idle(30)
        self.postgres.start()
        self.push(300)
        self.wait_idle(30)
        self.assertEqual(worker.stop(), 0)
        self.assertEqual(self.number("sum(attempts) FROM celeriac.ledger_summary"), 600)


class Partitions(LedgerTest):
    def days(self):
        return self.sql("SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid "
                        "WHERE inhparent = 'celeriac.ledger'::regclass AND relname <> 'ledger_default' ORDER BY 1").split()

    def day(self, offset):
        return self.sql(f"SELECT to_char((now() AT TIME ZONE 'UTC')::date + {offset}, '\"ledger_\"YYYYMMDD')")

    def insert(self, offset, count=1):
        self.sql("INSERT INTO celeriac.ledger (ended_at, received_at, retries, node, queue, outcome) "
                 f"SELECT now() + {offset} * interval '1 day', now(), 0, 'n', 'q', 'succeeded' FROM generate_series(1, {count})")

    def test_a_worker_makes_days_and_drops_old_ones(self):
        for offset in (-1, -6, -7, -8, -400):
            self.sql(f"SELECT celeriac.ledger_add_day((now() AT TIME ZONE 'UTC')::date + {offset})")
            self.insert(offset)
        self.insert(-30)  # into the default one
        self.insert(1, 3)  # as well: a clock that is wrong
        self.sql("INSERT INTO celeriac.ledger_summary VALUES (now() - interval '9 days', 't', 'failed', 1, 1), "
                 "(now(), 't', 'failed', 1, 1)")
        self.worker("-c", "1", settings="ledger_days = 7\n")
        expected = [self.day(offset) for offset in (-7, -6, -1, 0, 1, 2)]
        wait_until(lambda: self.days() == expected, 20, f"{expected}, not {self.days()}")
        id = self.send("tests.noop")
        self.rows(id)
        self.assertEqual(self.number(f"count(*) FROM celeriac.{self.day(0)} WHERE task_id = '{id}'"), 1)
        self.assertEqual(self.number(f"count(*) FROM celeriac.{self.day(1)}"), 3)
        self.assertEqual(self.number("count(*) FROM celeriac.ledger_default"), 0)
        self.assertEqual(self.number("count(*) FROM celeriac.ledger"), 7)
        self.assertEqual(self.number("count(*) FROM celeriac.ledger_summary"), 1)
        indexes = "SELECT count(*) FROM pg_index WHERE indrelid = 'celeriac.%s'::regclass"
        self.assertEqual(self.sql(indexes % self.day(0)), self.sql(indexes % "ledger_default"))

    def test_keeping_gives_way_and_is_made_up_for(self):
        old = "(now() AT TIME ZONE 'UTC')::date - 40"
        self.sql(f"SELECT celeriac.ledger_add_day({old})")
        reader = self.postgres.connect()
        self.addCleanup(reader.close)
        with reader.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM celeriac.ledger")
            begun = time.monotonic()
            self.sql("SELECT celeriac.ledger_keep(30)")  # waits for nobody
            self.assertLess(time.monotonic() - begun, 10)
            self.assertEqual(len(self.days()), 1)
            self.insert(0)
        reader.rollback()
        self.sql("SELECT celeriac.ledger_keep(30)")
        self.assertEqual(self.days(), [self.day(offset) for offset in (0, 1, 2)])
        self.assertEqual(self.number("count(*) FROM celeriac.ledger_default"), 0)
        self.assertEqual(self.number("count(*) FROM celeriac.ledger"), 1)

    def test_rows_that_meet_the_making_of_their_day(self):
        maker = self.postgres.connect()
        self.addCleanup(maker.close)
        with maker.cursor() as cursor:
            cursor.execute("SELECT celeriac.ledger_add_day((now() AT TIME ZONE 'UTC')::date)")
        id = self.push(1)[0]
        worker = self.worker("-c", "1", settings="ledger_days = 30\n")
        wait_until(lambda: self.number("count(*) FROM pg_locks WHERE NOT granted AND mode = 'RowExclusiveLock'"), 20,
                   "the writer behind the maker")
        maker.commit()
        self.rows(id)
        self.assertEqual(self.number(f"count(*) FROM celeriac.{self.day(0)} WHERE task_id = '{id}'"), 1)
        self.assertEqual(self.report(worker, "ledger_lost"), 0)

    def test_many_keep_at_once_while_rows_come(self):
        failures = []

        def keep():
            for _ in range(10):
                done = self.postgres.psql("SELECT celeriac.ledger_keep(30)", check=False)
                if done.returncode:
                    failures.append(done.stderr)

        keepers = [threading.Thread(target=keep) for _ in range(4)]
        for keeper in keepers:
            keeper.start()
        row = "(t,i,q,succeeded,1,1,1," + str(time.time_ns() // 1000) + ",,,0,)"
        rows = "{" + ",".join(['"' + row + '"'] * 10) + "}"
        for number in range(1, 21):
            self.sql(f"SELECT celeriac.ledger_write('n:1', {number}, 10, 0, 'n', '{rows}')")
        for keeper in keepers:
            keeper.join()
        self.assertEqual(failures, [])
        self.sql("SELECT celeriac.ledger_keep(30)")
        self.assertEqual(self.days(), [self.day(offset) for offset in (0, 1, 2)])
        self.assertEqual(self.number("count(*) FROM celeriac.ledger"), 200)


if __name__ == "__main__":
    unittest.main()
