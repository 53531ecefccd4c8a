"""A double of the plugin `eks`, version 4: one component, `eks:index:Cluster`.

It registers what the real one registers for the arguments that Triton Fleet passes, under the same names and with the same dependencies,
and refuses every other argument. Where it differs: its children are made by the stack's own aws provider (the real one brings an older
plugin of its own), it makes no Kubernetes provider, and its kubeconfig leads to a control plane on this machine. The token command in it is
the real one's, ``aws eks get-token``; what answers to that name in tests is a script with a certificate (`access`).
"""
