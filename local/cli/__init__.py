"""The commands behind the Makefile's targets: up, load, status, doctor, env, destroy, down, clean."""
