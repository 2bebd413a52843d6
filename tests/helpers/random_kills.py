"""SIGKILL at random moments of a job that goes on where it stopped."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable


def kill_at_random(start: Callable[[], subprocess.Popen[str]], generator: random.Random, between: tuple[float, float], most: int) -> int:
    """Start a job again and again, each time in a session of its own, and kill it after some seconds; return how often.

    It ends early where the job ends by itself before its moment; one that fails is a failure of the test.
    """
    kills = 0
    while kills < most:
        process = start()
        time.sleep(generator.uniform(*between))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        output = process.communicate()[0]
        assert process.returncode in (0, -signal.SIGKILL), output
        if process.returncode == 0:
            break
    return kills
