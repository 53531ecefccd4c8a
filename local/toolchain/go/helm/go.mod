module triton-fleet.local/tools/helm

go 1.26.8
