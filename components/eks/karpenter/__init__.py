"""Karpenter on EKS: its settings, its access to AWS, and the controller with its pools."""
