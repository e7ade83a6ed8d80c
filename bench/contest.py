"""What the measures of bench/run share: one private Redis, workers on it, a drain, and rows of the table."""
import base64
import json
import os
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests"))
from support.servers import BUILD, CELERIAC, MODULES, PostgresServer, wait_until  # noqa: E402,F401

CLIENT = os.path.join(BUILD, "bench", "bench_client")
PYTHON = "/usr/bin/python3"


class Contest:
    def __init__(self, redis, folder):
        self.redis, self.folder = redis, folder
        self.connection = redis.client()
        self.environment = {**os.environ, "BENCH_URL": redis.url, "CELERIAC_BROKER_URL": redis.url}

    def start(self, command, **environment):
        log = open(os.path.join(self.folder, "worker.log"), "ab")
        return subprocess.Popen(command, cwd=HERE, env={**self.environment, **environment}, stdout=log, stderr=log,
                                stdin=subprocess.DEVNULL, start_new_session=True)

    def celery(self, *arguments, **environment):
        return self.start([PYTHON, "-m", "celery", "-A", "celery_app", "worker", "-l", "warning", *arguments], **environment)

    def celeriac(self, processes, *options):
        return self.start([CELERIAC, "worker", "-A", os.path.join(MODULES, "bench.so"), "-Q", "bench", "-c", str(processes),
                           "-l", "warning", *options])

    @staticmethod
    def stop(processes):
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(60)

    def client(self, mode, count):
        return json.loads(subprocess.run([CLIENT, mode, str(count), self.redis.socket], check=True, capture_output=True,
                                         text=True).stdout)

    def fill(self, count, task="bench.noop", numbered=False):
        """`count` messages of the task, as Celery itself writes them; `numbered`: each with its number as argument."""
        from celery import Celery

        self.connection.flushall()
        app = Celery(broker=self.redis.url)
        app.conf.task_default_queue = "bench"
        app.send_task(task)
        message = self.connection.rpop("bench")
        envelope = json.loads(message)
        one, body = envelope["headers"]["id"].encode(), envelope["body"].encode()

        def numbered_message(n):
            text = message.replace(one, b"%08d" % n + one[8:])
            return text.replace(body, base64.b64encode(base64.b64decode(body).replace(b"[]", b"[%d]" % n, 1))) if numbered else text

        for start in range(0, count, 1000):
            self.connection.lpush("bench", *map(numbered_message, range(start, min(count, start + 1000))))

    def left(self):
        pipeline = self.connection.pipeline(transaction=True)
        pipeline.llen("bench")
        pipeline.hlen("unacked")
        pipeline.keys("celeriac:inflight:*")
        waiting, unacked, flights = pipeline.execute()
        return waiting + unacked + sum(self.connection.hlen(key) for key in flights)

    def drain(self, count, start, task="bench.noop"):
        """Tasks per second between the first tenth and the last one: start-up does not count."""
        self.fill(count, task)
        processes = start()
        try:
            wait_until(lambda: self.left() <= count * 0.9, 60, "the worker has begun", 0.001)
            first, begun = self.left(), time.monotonic()
            wait_until(lambda: self.left() == 0, 300, "the queue is empty", 0.002)
            return first / (time.monotonic() - begun)
        finally:
            self.stop(processes)

    def celery_enqueue(self, count):
        script = ("import sys, time; from celery_app import noop; noop.delay(); n = int(sys.argv[1]); t = time.time()\n"
                  "for _ in range(n): noop.delay()\n"
                  "print(n / (time.time() - t))")
        return float(subprocess.run([PYTHON, "-c", script, str(count)], cwd=HERE, env=self.environment, check=True,
                                    capture_output=True, text=True).stdout)

    def celery_latency(self, count):
        script = ("import sys, time; from celery_app import started; started.delay().get(); ms = []\n"
                  "for _ in range(int(sys.argv[1])):\n"
                  "    t = time.time(); ms.append((started.delay().get() - t) * 1e3); time.sleep(0.005)\n"
                  "ms.sort(); print(ms[len(ms) // 2], ms[len(ms) * 99 // 100])")
        process = self.celery("-c", "2")
        try:
            output = subprocess.run([PYTHON, "-c", script, str(count)], cwd=HERE, env=self.environment, check=True,
                                    capture_output=True, text=True).stdout.split()
            return dict(zip(("p50_ms", "p99_ms"), map(float, output))), memory(process.pid)
        finally:
            self.stop([process])

    def celeriac_latency(self, count):
        process = self.celeriac(2)
        try:
            self.client("latency", 50)
            return self.client("latency", count), memory(process.pid)
        finally:
            self.stop([process])


def memory(pid):
    """RSS in MiB of a worker's first process and of one of its children."""
    children = open(f"/proc/{pid}/task/{pid}/children").read().split()

    def rss(one):
        for line in open(f"/proc/{one}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024

    return {"parent": rss(pid), "child": rss(children[0]) if children else 0.0}


def heading():
    print(f"{'measure':<50} {'Celeriac':>10} {'other':>10}  {'ratio':>8}  against")


def row(name, ours, other, other_name, more_is_better=True):
    ratio = ours / other if more_is_better else other / ours
    print(f"{name:<50} {ours:>10,.2f} {other:>10,.2f}  {ratio:>6.1f} x  {other_name}", flush=True)


def duel(name, ours, other, other_name, rounds):
    """The two in turn, either one first; the ratio is that of a turn: its median, least and most."""
    turns = []
    for number in range(rounds):
        first, second = (ours, other) if number % 2 == 0 else (other, ours)
        rates = first(), second()
        turns.append(rates if number % 2 == 0 else rates[::-1])
    ratios = [mine / theirs for mine, theirs in turns]
    ours, other = map(statistics.median, zip(*turns))
    print(f"{name:<50} {ours:>10,.0f} {other:>10,.0f}  {statistics.median(ratios):>6.2f} x  {other_name}"
          f" ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)
