"""How failures come back: class, arguments and document."""
from celery.exceptions import NotRegistered, SoftTimeLimitExceeded, TimeLimitExceeded

from conformance.rig import Case, signature_of


class Exceptions(Case):
    """exc_type, exc_message and exc_module, and what the client makes of them."""

    def test_raise_error(self):
        result = self.tasks.raise_error.delay()
        self.fails(result, ValueError, "deliberate error")
        self.failure(result.id, "ValueError", "deliberate error", module="builtins")

    def test_raise_error_with_arguments(self):
        self.fails(self.tasks.raise_error.delay(1, "two"), ValueError, "deliberate error")

    def test_fail(self):
        result = self.tasks.fail.delay()
        self.fails(result, self.tasks.ExpectedException, "Task expected to fail")
        self.failure(result.id, "ExpectedException", "Task expected to fail", module="t.integration.tasks")

    def test_arguments_stay_json_values(self):
        result = self.tasks.fail.delay(3, "text", [1, {"a": None}], 2.5, True)
        error = self.fails(result, self.tasks.ExpectedException)
        self.assertEqual(error.args, ("Task expected to fail", 3, "text", [1, {"a": None}], 2.5, True))
        self.failure(result.id, "ExpectedException", "Task expected to fail", 3, "text", [1, {"a": None}], 2.5, True,
                     module="t.integration.tasks")

    def test_integers_beyond_64_bits_as_arguments(self):
        error = self.fails(self.tasks.fail.delay(2 ** 70), self.tasks.ExpectedException)
        self.assertEqual(error.args[1], 2 ** 70)

    def test_fail_unpickleable(self):
        result = self.tasks.fail_unpickleable.delay("the foo", "the bar")
        self.fails(result, self.tasks.UnpickleableException, "the foo")
        self.failure(result.id, "UnpickleableException", "the foo", module="t.integration.tasks")

    def test_type_error_of_a_sum(self):
        result = self.tasks.tsum.delay([1, "a"])
        self.fails(result, TypeError)
        document = self.stored(result.id)
        self.assertEqual((document["result"]["exc_type"], document["result"]["exc_module"]), ("TypeError", "builtins"))

    def test_the_traceback_ends_with_the_exception(self):
        result = self.tasks.raise_error.delay()
        self.fails(result, ValueError)
        self.assertIn("Traceback", result.traceback)
        self.assertTrue(result.traceback.strip().endswith("ValueError: deliberate error"), result.traceback)

    def test_the_document_of_a_failure(self):
        document = self.document(self.tasks.fail.delay().id)
        self.assertEqual(document["status"], "FAILURE")
        self.assertEqual(document["children"], [])
        self.assertTrue(document["date_done"])

    def test_a_task_that_nobody_knows(self):
        result = signature_of("t.integration.tasks.unheard_of").apply_async()
        self.fails(result, NotRegistered)
        self.failure(result.id, "NotRegistered", "t.integration.tasks.unheard_of", module="celery.exceptions")


class TimeLimits(Case):
    """The header `timelimit`."""

    def test_the_soft_limit_is_caught(self):
        result = self.tasks.delayed_sum_with_soft_guard.apply_async(([1, 2], 5), soft_time_limit=1)
        self.assertEqual(self.get(result), 0)

    def test_the_soft_limit_does_not_strike(self):
        result = self.tasks.delayed_sum_with_soft_guard.apply_async(([1, 2], 0), soft_time_limit=1)
        self.assertEqual(self.get(result), 3)

    def test_the_soft_limit_is_not_caught(self):
        result = self.tasks.sleeping.apply_async((5,), soft_time_limit=1)
        with self.assertRaises(SoftTimeLimitExceeded):
            self.get(result)
        self.assertEqual(result.state, "FAILURE")

    def test_the_hard_limit(self):
        result = self.tasks.sleeping.apply_async((30,), time_limit=1)
        self.fails(result, TimeLimitExceeded)
        document = self.stored(result.id)
        self.assertEqual(document["result"], {"exc_type": "TimeLimitExceeded", "exc_message": [1],
                                              "exc_module": "billiard.exceptions"})
        self.assertIsNone(document["traceback"])

    def test_the_worker_goes_on_after_a_hard_limit(self):
        self.fails(self.tasks.sleeping.apply_async((30,), time_limit=1), TimeLimitExceeded)
        self.gets(self.tasks.add.s(1, 2), 3)
