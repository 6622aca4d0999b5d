"""Documents say what the code is."""

from pathlib import Path

import pytest

from tests.architecture import BLOCK, DOCUMENTS, drawn


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_drawing_is_what_the_code_says(document: Path) -> None:
    """Imports, states and gateways are drawn from the code; to mend it: python -m tests.architecture."""
    text = document.read_text("utf-8")
    assert {found[2] for found in BLOCK.finditer(text)} == set(DOCUMENTS[document])
    assert drawn(text) == text
