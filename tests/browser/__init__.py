"""A family's browser: a package, so that all its tests share one town and one browser, which end before other tests."""
