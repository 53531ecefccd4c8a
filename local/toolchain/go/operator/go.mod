module triton-fleet.local/tools/operator

go 1.26.8
