"""Random canvases, by seed, whose result is computed here as well: by evaluating them, without a queue.

A canvas is a tree of chains, groups, chords, callbacks and tasks that replace themselves, at most four deep. What flows
through it are whole numbers and flat lists of them. Not made, as Celery itself has no answer, or a doubtful one:

* groups directly in the header of another group or chord (their members are numbered backwards), or at the end of a
  member; a group of one member (it becomes the member); three groups in a row (what follows never runs);
* a group as the body of a chord that fails, or anything but tasks after a failure (nothing is stored for what is in it);
* a failure inside of a chord whose body is a chain or a member of another chord (nothing is stored for it, W19).
"""
import json
import random

from celery import chain, chord, group
from celery.result import GroupResult

from t.integration import tasks

DEPTH = 4
SIZE = 25  # tasks, about
PENDING = "no end"
FAILS = "a failure"


def outcome(redis, result):
    """What has become of a sent canvas, as its documents say: its value, FAILS, or PENDING."""
    if isinstance(result, GroupResult):
        values = [outcome(redis, member) for member in result.results]
        return FAILS if FAILS in values else PENDING if PENDING in values else values
    document = json.loads(redis.get("celery-task-meta-" + result.id) or "{}")
    status = document.get("status")
    return document["result"] if status == "SUCCESS" else FAILS if status == "FAILURE" else PENDING


# --- the tree: each part has a signature, and a value that follows from the value before it ---------


class Failed(Exception):
    """What the task `fail` comes to."""


def fail(*_):
    raise Failed


VALUES = {
    "add": lambda x, y: x + y, "mul": lambda x, y: x * y, "identity": lambda x: x, "tsum": sum, "fail": fail,
    "add_replaced": lambda x, y: x + y, "replace_with_chain": lambda x: x, "add_to_all": lambda xs, y: [x + y for x in xs],
}


class Task:
    """A task with `args` behind what comes before, or, `alone`, with these only. A `mark` is left by its callback."""

    def __init__(self, name, *args, alone=False, mark=None):
        self.name, self.args, self.alone, self.mark = name, args, alone, mark

    def signature(self, key):
        task = getattr(tasks, self.name)
        signature = task.si(*self.args) if self.alone else task.s(*self.args)
        if self.mark:
            signature.link(tasks.redis_echo.si(self.mark, key))
        return signature

    def value(self, before, marks):
        value = VALUES[self.name](*(self.args if self.alone else (before, *self.args)))
        if self.mark:
            marks.add(self.mark)
        return value

    def __repr__(self):
        return f"{self.name}{'!' if self.alone else ''}({', '.join(map(str, self.args))})"


class Chain:
    def __init__(self, parts):
        self.parts = parts

    def signature(self, key):
        signatures = [part.signature(key) for part in self.parts]
        return chain(*signatures) if len(signatures) > 1 else signatures[0]

    def value(self, before, marks):
        for part in self.parts:
            before = part.value(before, marks)
        return before

    def __repr__(self):
        return f"({' | '.join(map(repr, self.parts))})"


class Group:
    def __init__(self, parts):
        self.parts = parts

    def signature(self, key):
        return group([part.signature(key) for part in self.parts])

    def value(self, before, marks):
        return [part.value(before, marks) for part in self.parts]

    def __repr__(self):
        return f"group{self.parts}"


class Chord:
    def __init__(self, parts, body):
        self.parts, self.body = parts, body

    def signature(self, key):
        return chord([part.signature(key) for part in self.parts], self.body.signature(key))

    def value(self, before, marks):
        return self.body.value([part.value(before, marks) for part in self.parts], marks)

    def __repr__(self):
        return f"chord{self.parts}->{self.body}"


# --- growing one ------------------------------------------------------------------------------------


class Canvas:
    """The tree of a seed with its `expected` value, or FAILS, and the `marks` that its callbacks push to the list `key`."""

    def __init__(self, seed, key="canvas-marks"):
        self.random, self.seed, self.key = random.Random(seed), seed, key
        self.size, self.marked = SIZE, 0
        self.judge(self.failing() if self.random.random() < 0.1 else self.chain(None, DEPTH)[0])

    def judge(self, tree):
        self.tree, self.marks = tree, set()
        try:
            self.expected = tree.value(None, self.marks)
        except Failed:
            self.expected = FAILS

    def send(self):
        return self.tree.signature(self.key).apply_async()

    def number(self):
        return self.random.randint(-9, 99)

    def task(self, kind):
        """A task and what it returns (int or list); `kind` is what comes before it: None for nothing, int or list."""
        self.size -= 1
        a, b, returns, alone = self.number(), self.number(), int, False
        if kind is None or self.random.random() < 0.1:
            alone = True
            choice = self.random.choice((("add", a, b), ("add", a, b), ("mul", a, b), ("identity", a), ("tsum", [a, b]),
                                         ("add_replaced", a, b), ("replace_with_chain", a)))
        elif kind is int:
            choice = self.random.choice((("add", a), ("add", a), ("identity",), ("add_replaced", a), ("replace_with_chain",)))
        else:
            choice = self.random.choice((("tsum",), ("tsum",), ("identity",), ("add_to_all", a)))
            returns = int if choice[0] == "tsum" else list
        if self.random.random() < 0.2:
            self.marked += 1
            return Task(*choice, alone=alone, mark=f"{self.seed}-{self.marked}"), returns
        return Task(*choice, alone=alone), returns

    def members(self, kind, depth):
        return [self.chain(kind, depth - 1, ends=int)[0] for _ in range(self.random.randint(2, 4))]

    def chord(self, kind, depth):
        parts = self.members(kind, depth)
        body, returns = self.task(list)
        return Chord(parts, body), returns

    def link(self, kind, depth, may_be_group, follows_group):
        """One link of a chain, and what it returns."""
        choice = self.random.random()
        if depth <= 1 or self.size <= 0 or choice < 0.5:
            return self.task(kind)
        if choice < 0.7 or follows_group:
            return self.chord(kind, depth)
        if choice < 0.9 and may_be_group:
            return Group(self.members(kind, depth)), list
        return self.chain(kind, depth - 1, ends=any)

    def chain(self, kind, depth, ends=None):
        """`ends`: int: with something that returns a number; any: not with a group; None: with anything."""
        parts, length = [], self.random.randint(1, 4)
        for index in range(length):
            part, kind = self.link(kind, depth, may_be_group=index < length - 1 or ends is None,
                                   follows_group=parts and isinstance(parts[-1], Group))
            parts.append(part)
        if ends is int and kind is list:
            parts.append(Task("tsum"))
            kind = int
        return Chain(parts), kind

    def failing(self):
        """A chain with a task that fails, and only tasks behind it."""
        part, kind = self.chain(None, DEPTH, ends=any)
        parts = [part, Task("fail")]
        for _ in range(self.random.randint(0, 3)):
            parts.append(self.task(int)[0])
        return Chain(parts)
