"""The actors: one per file, each awaits one function when its bell rings."""
