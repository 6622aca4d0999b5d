"""The architecture document says what the code is."""

from tests.architecture import BLOCK, DOCUMENT, DRAWINGS, drawn


def test_every_drawing_is_what_the_code_says() -> None:
    """Imports and states are drawn from the code; to mend it: python -m tests.architecture."""
    text = DOCUMENT.read_text("utf-8")
    assert {found[2] for found in BLOCK.finditer(text)} == set(DRAWINGS)
    assert drawn(text) == text
