"""Silence around libraries that write to streams which belong to our answers; what was set before comes back."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Drop what Python code writes to standard output and standard error, its warnings, and log lines up to WARNING."""
    level = logging.root.manager.disable
    logging.disable(max(level, logging.WARNING))
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextlib.contextmanager
def silenced_descriptor() -> Iterator[None]:
    """Drop what compiled code writes to standard error, past Python's own stream. Keep it short: another thread's lines go as well."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' warnings and progress bars, and the hub's retries, off the console while it loads or saves."""
    from transformers.utils import logging as verbosity

    hub = logging.getLogger("huggingface_hub")
    told = hub.level
    hub.setLevel(logging.ERROR)
    level = verbosity.get_verbosity()
    bars = verbosity.is_progress_bar_enabled()
    verbosity.set_verbosity_error()
    verbosity.disable_progress_bar()
    try:
        yield
    finally:
        hub.setLevel(told)
        verbosity.set_verbosity(level)
        if bars:
            verbosity.enable_progress_bar()
