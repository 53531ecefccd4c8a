"""What runs on this machine: tools, the embedded one-node Kubernetes, images, plugins and the command line.

Imports components/; never the other way round.
"""
