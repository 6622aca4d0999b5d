"""What a stranger's machine may be like."""

import os
import subprocess
import sys
from pathlib import Path

LETTRAGE = Path(sys.executable).with_name("lettrage")


def test_a_terminal_that_is_not_utf_8_ends_nothing() -> None:
    """What it cannot show is a question mark; the demo draws arrows, families have labels."""
    typed = subprocess.run(
        [
            LETTRAGE,
            "token",
            "Cr\N{LATIN SMALL LETTER E WITH GRAVE}che \N{RIGHTWARDS ARROW} 1",
            "--scope=read",
            "--regie=*",
        ],
        env={**os.environ, "PYTHONIOENCODING": "iso-8859-1"},
        capture_output=True,
        check=False,
    )

    assert typed.returncode == 0, typed.stderr
    assert b'name = "Cr\xe8che ? 1"' in typed.stdout
