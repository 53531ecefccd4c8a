"""Karpenter on EKS."""
