"""Silence: nothing of what is inside is heard, and everything is as it was afterwards, after an error too."""

from __future__ import annotations

import logging
import os
import sys
import warnings

import pytest

from imbik.jobs.quiet import quiet_transformers, silenced, silenced_descriptor


def test_what_python_says_is_dropped_and_comes_back(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    streams, level = (sys.stdout, sys.stderr), logging.root.manager.disable
    with pytest.raises(KeyError), silenced():
        print("a line")  # noqa: T201
        warnings.warn("a warning", stacklevel=1)
        logging.getLogger("somebody").warning("a log line")
        logging.getLogger("somebody").error("an error")
        raise KeyError
    assert (sys.stdout, sys.stderr) == streams and logging.root.manager.disable == level
    assert [record.message for record in caplog.records] == ["an error"]
    assert capfd.readouterr().out == ""


def test_what_compiled_code_says_is_dropped_and_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), silenced_descriptor():
        os.write(2, b"from C\n")
        raise KeyError
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"


def test_transformers_says_afterwards_what_it_said_before() -> None:
    from transformers.utils import logging as verbosity

    before = verbosity.get_verbosity(), verbosity.is_progress_bar_enabled()
    try:
        verbosity.set_verbosity_info()
        with quiet_transformers():
            assert (verbosity.get_verbosity(), verbosity.is_progress_bar_enabled()) == (verbosity.ERROR, False)
        assert (verbosity.get_verbosity(), verbosity.is_progress_bar_enabled()) == (verbosity.INFO, before[1])
    finally:
        verbosity.set_verbosity(before[0])
