"""The commands of a newcomer: up, load, status, doctor, env, destroy, down, clean."""
