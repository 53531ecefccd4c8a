"""`make load`: send real inference traffic and show how the autoscaler reacts."""
