module triton-fleet.local/tools/coredns

go 1.26.8
