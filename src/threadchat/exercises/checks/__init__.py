"""The checks: a module for each exercise, with its SCENARIOS (see `verdict`). They run in the process of `child`."""
