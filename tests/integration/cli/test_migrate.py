"""celeriac migrate against a real PostgreSQL."""
import json
import os
import subprocess
import tempfile
import unittest

from support.servers import CELERIAC, PostgresServer, celeriac, temporary_folder


class Migrate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(temporary_folder("celeriac-migrate-"))
        cls.postgres = cls.enterClassContext(PostgresServer(cls.folder))
        cls.environment = {"CELERIAC_DATABASE_URL": cls.postgres.uri}

    def setUp(self):
        self.postgres.psql("drop schema if exists celeriac cascade; drop schema if exists t cascade; create schema t")
        self.set = os.path.join(tempfile.mkdtemp(dir=self.folder), "shop")
        os.mkdir(self.set)

    def file(self, name, text):
        with open(os.path.join(self.set, name), "w") as file:
            file.write(text)

    def migrate(self, *arguments, status=0):
        done = celeriac("migrate", "--dir", self.set, *arguments, environment=self.environment)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        if status:
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        return done

    @staticmethod
    def others(text):
        """The rows of sets that are not Celeriac's own."""
        return [row for row in json.loads(text) if row["set"] != "celeriac"]

    def states(self, *arguments):
        rows = self.others(self.migrate("--status", "--json", *arguments).stdout)
        return {row["name"]: row["state"] for row in rows}

    def value(self, sql):
        return self.postgres.sql(sql)

    def test_files_are_applied_once_in_order(self):
        self.file("0002_fill.sql", "INSERT INTO t.a VALUES (1); INSERT INTO t.a VALUES (2);")
        self.file("0001_make.sql", "CREATE TABLE t.a (n int);")
        self.assertEqual(self.states(), {"make": "pending", "fill": "pending"})
        rows = self.others(self.migrate("--json").stdout)
        self.assertEqual([(row["set"], row["number"], row["name"], row["state"]) for row in rows],
                         [("shop", 1, "make", "applied"), ("shop", 2, "fill", "applied")])
        self.assertEqual(self.migrate().stdout, "Nothing to do.\n")
        self.assertEqual(self.value("select count(*) from t.a"), "2")
        self.file("0003_more.sql", "INSERT INTO t.a VALUES (3)")
        self.migrate()
        self.assertEqual(self.value("select sum(n) from t.a"), "6")
        self.assertEqual(self.value("select string_agg(set || number || name, ' ' order by number)"
                                    " from celeriac.migration where set = 'shop'"), "shop1make shop2fill shop3more")
        self.assertEqual(self.value("select count(*) from celeriac.migration where checksum ~ '^[0-9a-f]{64}$'"
                                    " and set = 'shop' and applied_at > now() - interval '1 minute'"), "3")

    def test_a_dry_run_changes_nothing(self):
        self.file("0001_make.sql", "CREATE TABLE t.a (n int);")
        self.assertIn("make", self.migrate("--dry-run").stdout)
        self.assertEqual(self.value("select to_regclass('t.a') is null and to_regclass('celeriac.migration') is null"),
                         "t")

    def test_a_failing_file_leaves_nothing_and_is_named_with_its_line(self):
        self.file("0001_make.sql", "CREATE TABLE t.a (n int);")
        self.file("0002_bad.sql", "INSERT INTO t.a VALUES (1);\n-- é\nSELEC 1;\n")
        done = self.migrate(status=70)
        self.assertIn("0002_bad.sql:3:1: ", done.stderr)
        self.assertIn("syntax error", done.stderr)
        self.assertEqual(self.value("select count(*) from t.a"), "0")
        self.assertEqual(self.states(), {"make": "applied", "bad": "pending"})
        self.file("0002_bad.sql", "INSERT INTO t.a VALUES (1);")
        self.migrate()
        self.assertEqual(self.value("select count(*) from t.a"), "1")

    def test_an_error_without_a_place_is_named_by_its_statement(self):
        self.file("0001_bad.sql", "-- it's a comment; with a semicolon\nCREATE TABLE t.a (n int UNIQUE);\n;;\n"
                                  "CREATE FUNCTION t.f() RETURNS int LANGUAGE sql AS $x$ SELECT 1; $x$;\n"
                                  "INSERT INTO t.a VALUES (1);\n\n/* ; /* ; */ ; */\nINSERT\n INTO t.a VALUES (1);\n")
        self.assertIn("0001_bad.sql:8: ", self.migrate(status=70).stderr)

    def test_a_deferred_constraint_fails_the_file(self):
        self.file("0001_bad.sql", "CREATE TABLE t.a (n int UNIQUE DEFERRABLE INITIALLY DEFERRED);\n"
                                  "INSERT INTO t.a VALUES (1), (1);")
        self.assertIn("0001_bad.sql", self.migrate(status=70).stderr)
        self.assertEqual(self.value("select to_regclass('t.a') is null"), "t")

    def test_a_file_that_commits_is_refused(self):
        self.file("0001_bad.sql", "CREATE TABLE t.a (n int); COMMIT;")
        self.assertIn("COMMIT", self.migrate(status=70).stderr)
        self.assertEqual(self.states(), {"bad": "pending"})

    def test_what_a_file_sets_does_not_reach_the_next(self):
        self.file("0001_path.sql", "SET search_path = t; CREATE TABLE a (n int);")
        self.file("0002_next.sql", "CREATE TABLE t.path AS SELECT current_setting('search_path') AS path;")
        self.migrate()
        self.assertEqual(self.value("select path from t.path"), '"$user", public')

    def test_an_applied_file_must_not_change(self):
        self.file("0001_make.sql", "CREATE TABLE t.a (n int);")
        self.migrate()
        self.file("0001_make.sql", "CREATE TABLE t.a (n bigint);")
        self.file("0002_more.sql", "CREATE TABLE t.b (n int);")
        self.assertIn("0001_make.sql", self.migrate(status=78).stderr)
        self.assertEqual(self.states(), {"make": "changed", "more": "pending"})
        self.assertEqual(self.value("select to_regclass('t.b') is null"), "t")

    def test_a_number_that_comes_too_late_is_refused(self):
        self.file("0002_b.sql", "CREATE TABLE t.b (n int);")
        self.migrate()
        self.file("0001_a.sql", "CREATE TABLE t.a (n int);")
        self.assertIn("0001_a.sql", self.migrate(status=78).stderr)

    def test_a_file_that_is_gone_is_shown(self):
        self.file("0001_a.sql", "CREATE TABLE t.a (n int);")
        self.file("0002_b.sql", "CREATE TABLE t.b (n int);")
        self.migrate()
        os.remove(os.path.join(self.set, "0002_b.sql"))
        self.assertEqual(self.states(), {"a": "applied", "b": "gone"})
        self.migrate()

    def test_sets_are_apart(self):
        self.file("0001_a.sql", "CREATE TABLE t.a (n int);")
        other = os.path.join(self.set, "..", "other")
        os.mkdir(other)
        with open(os.path.join(other, "0001_z.sql"), "w") as file:
            file.write("CREATE TABLE t.z (n int);")
        rows = self.others(self.migrate("--dir", "named=" + other, "--json").stdout)
        self.assertEqual([(row["set"], row["name"]) for row in rows], [("shop", "a"), ("named", "z")])

    def test_several_at_once_apply_each_file_once(self):
        for number in range(1, 6):
            self.file(f"{number:04}_step.sql", f"CREATE TABLE t.s{number} (n int); SELECT pg_sleep(0.05);")
        runs = [subprocess.Popen([CELERIAC, "migrate", "--dir", self.set, "--json"], text=True, stdin=subprocess.DEVNULL,
                                 env={**os.environ, **self.environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                for _ in range(4)]
        applied = []
        for process in runs:
            out, error = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, error)
            applied += [row["number"] for row in self.others(out)]
        self.assertEqual(sorted(applied), [1, 2, 3, 4, 5])
        self.assertEqual(self.value("select count(*) - count(distinct (set, number)) from celeriac.migration"), "0")

    def test_without_a_folder_the_own_tables_are_made(self):
        done = celeriac("migrate", "--json", environment=self.environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual({(row["set"], row["state"]) for row in json.loads(done.stdout)}, {("celeriac", "applied")})
        self.assertEqual(self.value("select count(*) from celeriac.effect"), "0")
        self.assertEqual(celeriac("migrate", environment=self.environment).stdout, "Nothing to do.\n")

    def test_the_database_may_stand_in_the_file(self):
        self.file("0001_a.sql", "CREATE TABLE t.a (n int);")
        path = os.path.join(self.folder, "database.ini")
        with open(path, "w") as file:
            file.write(f"[database]\ndefault = {self.postgres.uri}\n")
        done = celeriac("migrate", "--config", path, "--dir", self.set)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.value("select to_regclass('t.a') is not null"), "t")


if __name__ == "__main__":
    unittest.main()
