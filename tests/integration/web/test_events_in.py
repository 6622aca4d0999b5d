"""Events come in over HTTP and are stored before they are acknowledged."""

from tests.api import Api, issued


async def test_an_event_is_stored_before_it_is_acknowledged(api: Api) -> None:
    """202 with the id and `accepted`; the row is there, and its queue was rung."""
    response = await api.post(issued())
    assert response.status == 202
    assert await response.json() == {"id": "issued-F-1", "status": "accepted"}
    (stored,) = await api.app.events()
    assert (stored["client"], stored["source"], stored["id"]) == ("portail", "/portail", "issued-F-1")
    assert api.app.bell.rung == ["invoice-changed"]
