"""Portals as Lettrage tells them: what is signed, where it may go, what an answer means, when it is tried again."""
