"""A module of imbik that runs in a process of its own and answers over its pipes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile

from imbik.machine import worker_environment

_PATIENCE = 10.0
"""Seconds that a process gets to end by itself."""


class Died(Exception):
    """A worker ended before it answered."""


class Child:
    """A running module; what it says on its standard error is kept, for the message when it dies.

    Args:
        module: its dotted name.
        arguments: of its command line.
        threads: that it computes with.
        encoding: of its pipes; None: they carry bytes.

    Attributes:
        process: with ``stdin`` and ``stdout`` as pipes.
    """

    def __init__(self, module: str, *arguments: str, threads: int, encoding: str | None = None) -> None:
        # a file and not a pipe: one that nobody reads while answers are awaited would fill up and block
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  closed with the process
        # -P: code in the working folder, such as a numpy.py beside a downloaded artefact, is never imported
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding=encoding,
            env=worker_environment(threads),
        )

    def death(self) -> str:
        """Wait for the end of a process that stopped answering; return how it ended."""
        # the code is known only when it has ended, and until then it may say more
        self.process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        said = lines[-1][:300] if lines else "it said nothing (out of memory?)"
        return f"ended with code {self.process.returncode}: {said}"

    def close(self) -> None:
        """End the process when it has done what it does."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                # a process that died has closed its end: what was not sent yet cannot be
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            # a closed standard input ends its loop; one that hangs in its engine is killed
            self.process.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._errors.close()
