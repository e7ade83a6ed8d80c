"""Calls of `tests.mark` (tests/modules/marks.c), and what their executions left behind."""
import base64
import collections
import contextlib
import datetime
import json
import os

from common import message

Mark = collections.namedtuple("Mark", "kind number usec redelivered by")  # kind: S(tart) or E(nd); by: c or p(ython)


class Calls:
    """Makes messages, and counts what they did. A call is known by its number; so is its id."""

    def __init__(self, folder, seed, name="marks"):
        self.path, self.seed = os.path.join(folder, name), seed
        text = message("tests.mark", id="@id@", eta="@eta@", ignore_result="@ignore@")[1].decode()
        envelope = json.loads(text)
        # a tag of its own for each: Celery keeps what it has taken by it
        self.template = (text.replace(envelope["body"], "@body@").replace(envelope["properties"]["delivery_tag"], "@id@")
                         .replace('"@eta@"', "@eta@").replace('"@ignore@"', "@ignore@"))

    def id(self, number):
        return f"{number:08x}-0000-4000-8000-{self.seed % 2**48:012x}"

    def number(self, id):
        return int(id[:8], 16)

    def make(self, number, ms=0, eta_usec=None, ignore_result=False):
        body = json.dumps([[self.path, number, ms], {}, {}])
        return (self.template.replace("@id@", self.id(number))
                .replace("@body@", base64.b64encode(body.encode()).decode())
                .replace("@eta@", f'"{iso(eta_usec)}"' if eta_usec else "null")
                .replace("@ignore@", "true" if ignore_result else "false")).encode()

    def push(self, redis, messages, queue="celery", batch=1000):
        for start in range(0, len(messages), batch):
            redis.lpush(queue, *messages[start:start + batch])

    def marks(self):
        """Every mark, oldest first."""
        with contextlib.suppress(FileNotFoundError), open(self.path) as file:
            for line in file:
                kind, number, usec, redelivered, by = line.split()
                yield Mark(kind, int(number), int(usec), redelivered == "1", by)

    def executions(self):
        """{number: [starts, ends]}, with each mark in its list."""
        found = collections.defaultdict(lambda: ([], []))
        for mark in self.marks():
            found[mark.number][mark.kind == "E"].append(mark)
        return found


def iso(usec):
    moment = datetime.datetime.fromtimestamp(usec // 10**6, datetime.timezone.utc).replace(microsecond=usec % 10**6)
    return moment.isoformat(timespec="microseconds")


def documents(redis, ids, batch=1000):
    """The stored results, in the order of `ids`; None where there is none."""
    for start in range(0, len(ids), batch):
        for text in redis.mget(["celery-task-meta-" + id for id in ids[start:start + batch]]):
            yield json.loads(text) if text else None


class Report:
    """The final table: what was measured, line by line, and what is wrong."""

    def __init__(self, title):
        self.title, self.rows, self.wrong = title, [], []

    def add(self, name, value):
        self.rows.append((name, value))

    def times(self, name, seconds, percentile):
        """p50, p99 and max of a list of seconds, in ms."""
        parts = (f"{part} {1e3 * percentile(seconds, share):.1f} ms"
                 for part, share in (("p50", 0.5), ("p99", 0.99), ("max", 1)))
        self.add(name, ", ".join(parts) if seconds else "-")

    def expect(self, is_so, text):
        if not is_so:
            self.wrong.append(text)

    def lines(self):
        width = max(len(name) for name, _ in self.rows)
        yield self.title
        for name, value in self.rows:
            yield f"{name:{width}}  {value:>12,}" if isinstance(value, int) else f"{name:{width}}  {value:>12}"
        yield from ("WRONG: " + text for text in self.wrong)

    def finish(self, options):
        """Prints it; returns the exit status."""
        text = "\n".join(self.lines())
        print("\n" + text, flush=True)
        if options.output:
            os.makedirs(os.path.dirname(os.path.abspath(options.output)), exist_ok=True)
            with open(options.output, "w") as file:
                file.write(text + "\n")
        return 1 if self.wrong else 0
