module triton-fleet.local/tools/prometheus

go 1.26.8
