"""What a stranger's machine may be like."""

import os
import subprocess
import sys
import tomllib
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


def test_a_client_can_be_added_to_a_file_without_a_last_line_break(tmp_path: Path) -> None:
    """`lettrage token … >> lettrage.toml`, as its help says: editors leave such files."""
    file = tmp_path / "lettrage.toml"
    file.write_text('host = "127.0.0.1"')
    with file.open("ab") as appended:
        subprocess.run([LETTRAGE, "token", "a", "--scope=read", "--regie=*"], stdout=appended, check=True)

    assert [client["name"] for client in tomllib.loads(file.read_text())["client"]] == ["a"]
