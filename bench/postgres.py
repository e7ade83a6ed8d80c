"""Celeriac and PostgreSQL against bare libpq. The server has its own defaults: commits are on disk.

Each measure also counts: what is to be there once is there once, or the bench fails.
"""
import json
import os
import subprocess

from contest import BUILD, CELERIAC, PostgresServer, duel, wait_until

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
LOOP = os.path.join(BUILD, "bench", "bench_database")


class Database:
    def __init__(self, contest, postgres):
        self.contest, self.postgres = contest, postgres
        subprocess.run([CELERIAC, "migrate", "--database", postgres.uri], check=True, stdout=subprocess.DEVNULL)
        postgres.psql("CREATE TABLE account (id int PRIMARY KEY, total bigint NOT NULL);"
                      "CREATE TABLE plain (LIKE celeriac.outbox INCLUDING ALL)")

    def fresh(self):
        """Every turn finds the same: no rows of others, nothing to be written by a checkpoint of before."""
        self.postgres.psql("TRUNCATE account, plain, celeriac.effect, celeriac.outbox;"
                           "INSERT INTO account SELECT n, 0 FROM generate_series(1, 10000) AS n; ANALYZE account")
        self.postgres.psql("CHECKPOINT")

    def expect(self, count, sql):
        found = int(self.postgres.psql(sql).stdout)
        if found != count:
            raise SystemExit(f"{sql}: {found}, not {count}")

    def loop(self, mode, count, connections, *checks):
        """Per second, by bare libpq."""
        self.fresh()
        done = subprocess.run([LOOP, mode, str(count), str(connections), self.postgres.uri], check=True, capture_output=True,
                              text=True)
        for sql in checks:
            self.expect(count, sql)
        return json.loads(done.stdout)["per_second"]

    def once_tasks(self, count, processes):
        """Per second, by the times in their markers, without the first tenth."""
        self.fresh()
        self.contest.fill(count, "bench.credit", numbered=True)
        worker = self.contest.celeriac(processes, "--database", self.postgres.uri)
        try:
            wait_until(lambda: self.contest.left() == 0, 300, "the queue is empty", 0.1)
        finally:
            self.contest.stop([worker])
        self.expect(count, "SELECT sum(total) FROM account")
        self.expect(count, "SELECT count(*) FROM celeriac.effect")
        return float(self.postgres.psql(
            "SELECT count(*) * 0.9 / extract(epoch FROM max(done_at) - percentile_disc(0.1) WITHIN GROUP (ORDER BY done_at)) "
            "FROM celeriac.effect").stdout)

    def noop_tasks(self, count, detail):
        rate = self.contest.drain(count, lambda: [self.contest.celeriac(2, "--ledger", detail, "--database", self.postgres.uri)])
        if detail == "full":
            self.expect(count, "SELECT count(*) FROM celeriac.ledger WHERE outcome = 'succeeded'")
        if detail == "summary":
            self.expect(count, "SELECT sum(attempts) FROM celeriac.ledger_summary")
        self.expect(0, "SELECT coalesce(sum(lost), 0) FROM celeriac.ledger_node")
        self.postgres.psql("TRUNCATE celeriac.ledger, celeriac.ledger_summary, celeriac.ledger_node")
        return rate


def once(database, rounds, count):
    """The effects and the marker of a task against the statements alone, with as many connections."""
    total = "SELECT sum(total) FROM account"
    for slots in (1, 2):
        def tasks():
            return database.once_tasks(count, slots)

        duel(f"task with CEL_ONCE and one UPDATE, {slots} at once, /s", tasks,
             lambda: database.loop("update-marker", count, slots, total, "SELECT count(*) FROM celeriac.effect"),
             "libpq: BEGIN, UPDATE, INSERT of the marker, COMMIT", rounds)
        duel(f"task with CEL_ONCE and one UPDATE, {slots} at once, /s", tasks,
             lambda: database.loop("update", count, slots, total), "libpq: BEGIN, UPDATE, COMMIT", rounds)


def outbox(database, rounds, count):
    for name, ours, other, many in (
            ("celeriac.enqueue(), one in a transaction, /s", "enqueue", "insert-call", 1),
            ("celeriac.enqueue_many() of 1000, calls/s", "enqueue-bulk", "insert-call-bulk", 10),
            ("cel_send_in(), one in a transaction, /s", "send", "insert-message", 1),
            ("cel_send_in(), 1000 in a transaction, /s", "send-bulk", "insert-message-bulk", 4)):
        duel(name, lambda: database.loop(ours, count * many, 1, "SELECT count(DISTINCT id) FROM celeriac.outbox"),
             lambda: database.loop(other, count * many, 1, "SELECT count(DISTINCT id) FROM plain"),
             "libpq: INSERT INTO a table like celeriac.outbox", rounds)


def ledger(database, rounds, count):
    for detail in ("summary", "full"):
        duel(f"drain with --ledger {detail}, tasks/s", lambda: database.noop_tasks(count, detail),
             lambda: database.noop_tasks(count, "off"), "without a ledger", rounds)


def measure(contest, quick):
    rounds, count = (1, 1000) if quick else (5, 4000)
    with PostgresServer(contest.folder, options=DURABLE) as postgres:
        database = Database(contest, postgres)
        once(database, rounds, count)
        outbox(database, rounds, count)
        ledger(database, rounds, 20_000 if quick else 100_000)
