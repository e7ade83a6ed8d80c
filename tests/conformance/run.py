#!/usr/bin/python3
"""Runs the conformance suite against a worker.

    run.py                               celeriac worker -A build/modules/conformance.so -c 8
    run.py --slots 1                     one task at a time
    run.py --reference                   Celery's own worker with t/integration/tasks.py, to judge the suite itself
    run.py --worker './start -c 1'       any other: the command finds its servers in the environment (rig.py)
    run.py test_chords test_life.Revoke  only these files, classes or cases
    PYTHONPATH=/path/to/celery CELERY_TAG=v5.6.3 run.py     with the client of another Celery
"""
import argparse
import glob
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", help="files, classes or cases; default: all")
    options.add_argument("-c", "--slots", default="8", help="how many tasks the worker runs at once (default 8)")
    worker = options.add_mutually_exclusive_group()
    worker.add_argument("--reference", action="store_true", help="Celery's own worker")
    worker.add_argument("--worker", metavar="COMMAND", help="another worker")
    options.add_argument("--keep", metavar="FOLDER", help="work in this folder and leave the logs there")
    options.add_argument("-v", "--verbose", action="store_true", help="a line for each case")
    chosen = options.parse_args()
    os.environ["CONFORMANCE_WORKER"] = "reference" if chosen.reference else chosen.worker or "celeriac"
    os.environ["CONFORMANCE_SLOTS"] = chosen.slots
    if chosen.keep:
        os.environ["CONFORMANCE_KEEP"] = os.path.abspath(chosen.keep)
    sys.path[:0] = [os.path.dirname(HERE)]
    files = sorted(os.path.basename(path)[:-3] for path in glob.glob(os.path.join(HERE, "test_*.py")))
    suite = unittest.defaultTestLoader.loadTestsFromNames(["conformance." + name for name in chosen.names or files])
    outcome = unittest.TextTestRunner(verbosity=2 if chosen.verbose else 1).run(suite)
    sys.exit(not outcome.wasSuccessful())


if __name__ == "__main__":
    main()
