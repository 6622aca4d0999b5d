"""The example portal's way in: what is asked, what is refused, what a cookie is worth."""

import time

import pytest

from examples.portal import passwords
from examples.portal.families import Family, Registry
from examples.portal.memory import (
    ATTEMPTS_OF_A_DOSSIER,
    ATTEMPTS_OF_AN_ADDRESS,
    ATTEMPTS_SECONDS,
    IDLE_SECONDS,
    LONGEST_SECONDS,
    Memory,
)
from examples.portal.visits import Cookie, Visit, local
from tests.unit.portal.conftest import FAMILY, PASSWORD, Visitor


async def test_a_family_chooses_its_password_once_and_signs_in_with_it(visitor: Visitor, other: Visitor) -> None:
    """First visit, password, home; then the other parent's browser, with the password alone."""
    await visitor.visit_first()
    assert visitor.path == "/mot-de-passe"
    await visitor.choose()
    assert (visitor.path, visitor.status) == ("/", 200)
    assert "Bonjour, Famille Léger" in visitor.words
    await other.sign_in(f" {FAMILY.account.lower()} ")
    assert "Bonjour, Famille Léger" in other.words


async def test_whoever_was_recognised_sees_nothing_before_a_password_is_chosen(visitor: Visitor) -> None:
    """Dossier and name are printed on paper: they open the choice of a password, and nothing else."""
    await visitor.visit_first()
    for path in ("/", "/facturation", "/facturation/historique"):
        await visitor.open(path)
        assert visitor.path == "/mot-de-passe"


async def test_a_password_once_chosen_is_not_chosen_again(visitor: Visitor, other: Visitor) -> None:
    """Not by a second first visit, nor by one that began before the other ended."""
    await visitor.visit_first()
    await other.visit_first()
    await visitor.choose()
    await other.choose("le mien est bien plus long")
    assert other.status == 422
    assert "déjà un mot de passe" in other.words
    await other.sign_in(password="le mien est bien plus long")
    assert other.status == 422
    await other.visit_first()
    assert "déjà un mot de passe" in other.words


@pytest.mark.parametrize(("account", "name"), [("D-1001", "Martin"), ("D-9999", "Famille Léger"), ("", "")])
async def test_a_stranger_is_not_recognised(visitor: Visitor, account: str, name: str) -> None:
    """Whichever of the two is wrong, the answer is the same."""
    await visitor.visit_first(account, name)
    assert visitor.status == 422
    assert "Nous ne trouvons pas de dossier avec ce numéro et ce nom." in visitor.words


@pytest.mark.parametrize("account", [FAMILY.account, "D-9999"])
async def test_a_wrong_password_and_an_unknown_dossier_read_alike(
    visitor: Visitor, other: Visitor, account: str
) -> None:
    """Nobody learns which dossiers exist, or have a password."""
    await visitor.visit_first()
    await visitor.choose()
    await other.sign_in(account, "un mot de passe au hasard")
    assert other.status == 422
    assert "Ce numéro de dossier et ce mot de passe ne vont pas ensemble." in other.words


async def test_a_dossier_without_a_password_opens_to_none(visitor: Visitor) -> None:
    """Before its first visit, no password is right, not even none."""
    await visitor.sign_in(password="")
    assert visitor.status == 422


async def test_tries_are_counted_and_end(visitor: Visitor, other: Visitor) -> None:
    """After too many, the right password is refused, too, and it is said for how long."""
    await visitor.visit_first()
    await visitor.choose()
    for _ in range(ATTEMPTS_OF_A_DOSSIER):
        await other.visit_first(name="Martin")
    await other.sign_in()
    assert other.status == 429
    assert "Attendez 15 minutes" in other.words.replace("\N{NO-BREAK SPACE}", " ")


async def test_signing_in_changes_the_cookie_and_signing_out_ends_the_session(visitor: Visitor) -> None:
    """A cookie that somebody planted is worth nothing afterwards; one that somebody kept, neither."""

    def cookie() -> str:
        return visitor.client.session.cookie_jar.filter_cookies(visitor.client.make_url("/"))["espace"].value

    await visitor.open("/connexion")
    planted = cookie()
    await visitor.visit_first()
    recognised = cookie()
    await visitor.choose()
    signed_in = cookie()
    assert len({planted, recognised, signed_in}) == 3
    await visitor.send("/deconnexion")
    assert visitor.path == "/connexion"
    for kept in (planted, recognised, signed_in):
        visitor.client.session.cookie_jar.update_cookies({"espace": kept}, visitor.client.make_url("/"))
        await visitor.open("/facturation")
        assert visitor.path == "/connexion"


async def test_the_cookie_is_kept_from_scripts_and_other_sites(visitor: Visitor) -> None:
    """HttpOnly and SameSite; over HTTPS also Secure, and bound to the host."""
    async with visitor.client.get("/connexion") as answer:
        given = answer.headers["Set-Cookie"]
    assert "HttpOnly" in given
    assert "SameSite=Lax" in given
    assert Cookie("https://portal.example")._name == "__Host-espace"
    assert Cookie("https://portal.example")._secure


@pytest.mark.parametrize("path", ["/connexion", "/premiere-visite", "/mot-de-passe", "/deconnexion", "/paiements"])
async def test_a_form_without_its_proof_does_nothing(visitor: Visitor, path: str) -> None:
    """Another site's form has the cookie at most; the page says what to do."""
    await visitor.open("/connexion")
    for proof in ({}, {"jeton": Visit("another's").csrf}):
        async with visitor.client.post(path, data=proof) as answer:
            assert answer.status == 403
            assert "Page expirée" in await answer.text()


async def test_every_answer_keeps_the_browser_within_bounds(visitor: Visitor) -> None:
    """Nothing from elsewhere, nothing inline, in nobody's frame, kept by nobody."""
    for path in ("/connexion", "/nowhere", "/style.css"):
        async with visitor.client.get(path) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
    async with visitor.client.get("/connexion") as answer:
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a\nb", ""])
def test_signing_in_leads_nowhere_else(path: str) -> None:
    """The address to go on to comes with the request: only one of ours is followed."""
    assert local(path) == "/"


@pytest.mark.parametrize(
    ("password", "told"),
    [
        ("trop court", passwords.TOO_SHORT),
        ("x" * 201, passwords.TOO_LONG),
        ("aaaaaaaaaaaaaaa", passwords.TOO_PLAIN),
        ("Leger leger leger", passwords.TOO_CLOSE),
        ("mon dossier d-1001", passwords.TOO_CLOSE),
        (PASSWORD, None),
    ],
)
def test_a_password_is_long_and_not_the_familys_own_name(password: str, told: str | None) -> None:
    """Each fault is said in its own words."""
    assert passwords.fault(password, FAMILY) == told


async def test_a_password_is_kept_as_a_digest_of_its_own() -> None:
    """Two families with one password have two digests; composed or not, an accent is the same letter."""
    one, two = await passwords.digest("été à la mer, 2026"), await passwords.digest("été à la mer, 2026")
    assert one != two
    assert await passwords.is_right("e\N{COMBINING ACUTE ACCENT}té à la mer, 2026", one)
    assert not await passwords.is_right("été à la mer, 2027", one)
    assert not await passwords.is_right("", None)


@pytest.mark.parametrize("name", ["léger", "LEGER", "famille Leger", "Mme Léger", " léger "])
def test_a_name_is_recognised_as_people_write_it(name: str) -> None:
    """Accents, capitals and politeness apart."""
    assert Registry([FAMILY]).recognise("d-1001", name) == FAMILY


def test_a_family_without_letters_in_its_name_is_not_everybodys() -> None:
    """Nothing left to compare is not a match for an unknown dossier."""
    assert Registry([Family("D-1", "X", "")]).recognise("D-2", "") is None


def test_a_session_ends_by_itself() -> None:
    """An hour after the last look, and twelve after it began; looking keeps it alive in between."""
    memory = Memory(None)
    token = memory.open_session(FAMILY.account, "everything", 0)
    assert memory.session(token, IDLE_SECONDS - 1)
    assert memory.session(token, 2 * IDLE_SECONDS - 2)
    assert memory.session(token, 3 * IDLE_SECONDS) is None
    token = memory.open_session(FAMILY.account, "everything", 0)
    for hour in range(1, 24):
        alive = memory.session(token, hour * (IDLE_SECONDS - 1))
        assert (alive is not None) == (hour * (IDLE_SECONDS - 1) < LONGEST_SECONDS)


def test_a_try_counts_for_a_quarter_of_an_hour_and_for_its_address() -> None:
    """A guesser who changes dossiers runs into the address's limit; who signs in is forgiven one."""
    memory = Memory(None)
    for number in range(ATTEMPTS_OF_AN_ADDRESS):
        assert memory.try_once(f"D-{number}", "192.0.2.1", 0)
    assert not memory.try_once("D-1001", "192.0.2.1", 0)
    assert memory.try_once("D-1001", "192.0.2.2", 0)
    memory.forgive("D-0", "192.0.2.1")
    assert memory.try_once("D-1001", "192.0.2.1", 0)
    assert not memory.try_once("D-1001", "192.0.2.1", ATTEMPTS_SECONDS - 1)
    assert memory.try_once("D-1001", "192.0.2.1", ATTEMPTS_SECONDS + 1)


def test_a_forgotten_password_ends_sessions_and_opens_a_first_visit() -> None:
    """What `--forget` does."""
    memory, now = Memory(None), time.time()
    assert memory.keep_password(FAMILY.account, "digest")
    token = memory.open_session(FAMILY.account, "everything", now)
    assert memory.forget(FAMILY.account)
    assert memory.session(token, now) is None
    assert memory.password(FAMILY.account) is None
    assert not memory.forget(FAMILY.account)
