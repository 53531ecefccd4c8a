module triton-fleet.local/tools/adapter

go 1.26.8
