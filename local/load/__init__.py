"""`make load`: real inference traffic, and what the autoscaler makes of it, drawn while it happens."""
