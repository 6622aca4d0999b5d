-- What the portal itself must remember. Everything about money is Lettrage's.

-- A family's password, as scrypt digested it.
CREATE TABLE IF NOT EXISTS passwords (
    account TEXT PRIMARY KEY,
    digest TEXT NOT NULL
) STRICT;

-- Who is signed in. `token` is SHA-256 of the cookie's: a stolen file opens no session.
CREATE TABLE IF NOT EXISTS sessions (
    token TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    may TEXT NOT NULL CHECK (may IN ('choose_password', 'everything')),
    seen_at REAL NOT NULL,
    began_at REAL NOT NULL
) STRICT;

-- Tries to sign in that did not succeed, by dossier and by address.
CREATE TABLE IF NOT EXISTS attempts (
    who TEXT NOT NULL,
    at REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS attempts_by_who ON attempts (who, at);

-- Whose payment it is, from before Lettrage has decided about it.
CREATE TABLE IF NOT EXISTS payments (
    regie TEXT NOT NULL,
    reference TEXT NOT NULL,
    account TEXT NOT NULL,
    PRIMARY KEY (regie, reference)
) STRICT;

-- The latest that is known of each invoice, from readings and notifications; the highest version is its truth.
-- `amount_cents` and `means` are not in a notification: NULL until the invoice was read.
CREATE TABLE IF NOT EXISTS invoices (
    regie TEXT NOT NULL,
    number TEXT NOT NULL,
    account TEXT,
    state TEXT NOT NULL,
    version INTEGER NOT NULL,
    amount_cents INTEGER,
    means TEXT,
    PRIMARY KEY (regie, number)
) STRICT;
CREATE INDEX IF NOT EXISTS invoices_by_account ON invoices (account);

-- What each régie is called on a page.
CREATE TABLE IF NOT EXISTS regies (
    code TEXT PRIMARY KEY,
    label TEXT NOT NULL
) STRICT;
