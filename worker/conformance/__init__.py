"""A portal tried by its integrator: sample notifications, right and wrong ones, and what it made of them."""
