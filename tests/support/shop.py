"""The shop on private servers: schema, seed data, and a worker that has its tasks."""
import os
import subprocess

from .servers import CELERIAC, ROOT, celeriac, celeriac_worker

SQL = os.path.join(ROOT, "tasks", "shop")


def prepare(postgres, seed=True):
    """Applies the shop's migrations, with `celeriac migrate`, and fills it."""
    done = celeriac("migrate", "--dir", os.path.join(SQL, "sql"),
                    environment={"CELERIAC_DATABASE_URL": postgres.uri})
    if done.returncode != 0:
        raise AssertionError(f"{CELERIAC} migrate: {done.stdout}{done.stderr}")
    if seed:
        subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", postgres.uri, "-f", os.path.join(SQL, "seed.sql")],
                       check=True, stdout=subprocess.DEVNULL)


def worker(redis, postgres, folder, *arguments, name="worker", **settings):
    """A worker with the shop's tasks; `settings` are those of the section [settings]."""
    mails = os.path.join(folder, "mails")
    os.makedirs(mails, exist_ok=True)
    settings = {"mail_url": "file://" + mails, "mail_from": "shop@example.com",
                "report_recipients": "owner@example.com, office@example.com", **settings}
    path = os.path.join(folder, name + ".ini")
    with open(path, "w") as file:
        file.write("[settings]\n")
        for key, value in settings.items():
            file.write(f"{key} = {value}\n")
    return celeriac_worker(redis, folder, ["shop"], "--config", path, *arguments, postgres=postgres, name=name)


def broken_rules(postgres):
    """The rules of shop.consistency that do not hold, with how many rows break each."""
    with postgres.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT rule, broken FROM shop.consistency WHERE broken > 0")
        return cursor.fetchall()
