"""The rules about money, pure: facts in, the difference they make out. No I/O, no clock, no randomness, no logging."""
