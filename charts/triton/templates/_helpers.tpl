{{/* Name of every object: that of the release. One release is one deployment. */}}
{{- define "triton.name" -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that the Service, the disruption budget and the monitor select pods by. They never change: a Deployment's selector is immutable. */}}
{{- define "triton.selector" -}}
app.kubernetes.io/name: triton
app.kubernetes.io/instance: {{ include "triton.name" . | quote }}
{{- end -}}

{{- define "triton.labels" -}}
{{- $own := dict "app.kubernetes.io/name" "triton" "app.kubernetes.io/instance" (include "triton.name" .) "app.kubernetes.io/managed-by" .Release.Service -}}
{{- toYaml (mergeOverwrite $own .Values.labels) -}}
{{- end -}}

{{- define "triton.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "triton.name" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* Seconds from the start of preStop to SIGKILL. */}}
{{- define "triton.gracePeriod" -}}
{{- add (int (ceil .Values.drain.preStop)) (int (ceil .Values.drain.exitTimeout)) (int (ceil .Values.drain.margin)) -}}
{{- end -}}

{{/*
Startup probe, every 2 s: the port is closed until all models are loaded, so a probe costs nothing, and a longer period would
delay every scale-up.
*/}}
{{- define "triton.startupProbe" -}}
{{- with .Values.probes.startup -}}
periodSeconds: {{ int .periodSeconds }}
timeoutSeconds: {{ int .timeoutSeconds }}
failureThreshold: {{ int .failureThreshold }}
{{- else -}}
periodSeconds: 2
timeoutSeconds: 2
failureThreshold: {{ div (add (int (ceil .Values.startupBudget)) 1) 2 | max 1 }}
{{- end -}}
{{- end -}}

{{/* Not empty if the Service has port 8002. */}}
{{- define "triton.exposeMetrics" -}}
{{- if ternary .Values.service.exposeMetrics (ne .Values.service.type "LoadBalancer") (hasKey .Values.service "exposeMetrics") -}}
true
{{- end -}}
{{- end -}}

{{/* The repositories that Triton reads, as a JSON list. */}}
{{- define "triton.repositories" -}}
{{- $from := .Values.modelRepository -}}
{{- if not (or $from.url $from.urls) -}}
{{- fail "modelRepository.url is not set: Triton would have no models. Set it, such as s3://bucket/prefix." -}}
{{- else if and $from.url $from.urls -}}
{{- fail "modelRepository.url and modelRepository.urls are both set: models of either could hide those of the other. Set one of them." -}}
{{- else if and (eq $from.mode "poll") $from.models -}}
{{- fail "modelRepository.models is set with mode poll: Triton would load every model and ignore the list. Remove it, or use another mode." -}}
{{- else if and .Values.prefetch.enabled (ne $from.mode "release") -}}
{{- fail (printf "prefetch.enabled is true with modelRepository.mode %s: the copy would never change. Use mode release, or turn prefetch off." $from.mode) -}}
{{- end -}}
{{- if .Values.prefetch.enabled -}}
{{- toJson (list "/models/release") -}}
{{- else -}}
{{- toJson ($from.urls | default (list $from.url)) -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the key to the admin endpoints. */}}
{{- define "triton.adminSecret" -}}
{{- .Values.admin.keySecret | default (printf "%s-admin" (include "triton.name" .)) -}}
{{- end -}}

{{/*
The flags that ask for the key. The kubelet fills it in from the environment, so that the pod's specification does not show it.
Triton has no way to ask for it on the servers of SageMaker and Vertex AI, so these can't be turned on.
*/}}
{{- define "triton.adminFlags" -}}
{{- range $argument := .Values.extraArgs -}}
{{- $name := (splitList "=" $argument | first) -}}
{{- range $flag := list "--http-restricted-api" "--grpc-restricted-protocol" "--allow-sagemaker" "--allow-vertex-ai" -}}
{{- if and (gt (len $name) 2) (hasPrefix $name $flag) -}}
{{- fail (printf "extraArgs (%s) sets %s: it would open Triton's admin endpoints. Remove it, or see admin.open." $argument $flag) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name := list "TRITON_ADMIN_KEY" "AIP_MODE" -}}
{{- if or (hasKey $.Values.env $name) (hasKey $.Values.secretEnv $name) -}}
{{- fail (printf "env.%s would open Triton's admin endpoints or change their key. Remove it, or see admin." $name) -}}
{{- end -}}
{{- end -}}
{{- $tag := regexFind "tritonserver:[0-9]{2}[.][0-9]{2}" .Values.image | trimPrefix "tritonserver:" -}}
{{- if and $tag (lt $tag "23.11") -}}
{{- fail (printf "image (%s) is older than 23.11: Triton would not know --http-restricted-api, and not start. Use a newer tag." .Values.image) -}}
{{- end -}}
{{- $closed := list "model-repository" -}}
{{- range $endpoint := list "shared-memory" "statistics" "trace" "logging" -}}
{{- if not (has $endpoint $.Values.admin.open) -}}
{{- $closed = append $closed $endpoint -}}
{{- end -}}
{{- end -}}
- --http-restricted-api={{ join "," $closed }}:triton-admin-key=$(TRITON_ADMIN_KEY)
- --grpc-restricted-protocol={{ join "," $closed }}:admin-key=$(TRITON_ADMIN_KEY)
{{- end -}}

{{/* The tables of files/rules.json, which are generated: components/serving/chart_files.py has the rules. */}}
{{- define "triton.rules" -}}
{{- .Files.Get "files/rules.json" -}}
{{- end -}}

{{/* Fail if extraArgs undoes what the chart computes. The server takes abbreviations, and the last of several values. */}}
{{- define "triton.checkFlags" -}}
{{- $arguments := .Values.extraArgs -}}
{{- range $index, $argument := $arguments -}}
{{- $name := splitList "=" $argument | first | trimPrefix "--" -}}
{{- $next := ternary (index $arguments (min (add1 $index) (sub (len $arguments) 1) | int)) "" (lt (add1 $index | int) (len $arguments)) -}}
{{- $value := ternary (trimPrefix (printf "--%s=" $name) $argument) $next (contains "=" $argument) -}}
{{- if has (lower $value) (list "1" "true") -}}
{{- $value = "true" -}}
{{- end -}}
{{- range $flag, $rule := (include "triton.rules" $ | fromJson).flags -}}
{{- if and (hasPrefix "--" $argument) (gt (len $name) 4) (hasPrefix $name $flag) (not (has $value $rule.harmless)) -}}
{{- if $rule.setBy -}}
{{- fail (printf "extraArgs (%s) sets --%s, which the chart sets from %s: %s. Use that value." $argument $flag $rule.setBy $rule.why) -}}
{{- end -}}
{{- fail (printf "extraArgs (%s) sets --%s: %s. Remove it." $argument $flag $rule.why) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A Kubernetes quantity as a number. */}}
{{- define "triton.number" -}}
{{- $suffix := regexFind "[a-zA-Z]+$" . -}}
{{- $factors := dict "n" 1e-9 "u" 1e-6 "m" 1e-3 "" 1.0 "k" 1e3 "M" 1e6 "G" 1e9 "Ki" 1024.0 "Mi" 1048576.0 -}}
{{- mulf (trimSuffix $suffix . | float64) (get $factors $suffix | default 1.0) -}}
{{- end -}}

{{/*
What is doubtful about the autoscaler's metrics, as a JSON list; fails if it could never scale. Metrics with other names are the user's own.
*/}}
{{- define "triton.metricWarnings" -}}
{{- $warnings := list -}}
{{- $tag := regexFind "tritonserver:[0-9]{2}[.][0-9]{2}[^@]*" .Values.image | trimPrefix "tritonserver:" -}}
{{- $engine := ternary "" (ternary "vllm" (ternary "trtllm" "triton" (contains "-trtllm-" $tag)) (contains "-vllm-" $tag)) (empty $tag) -}}
{{- $stopped := false -}}
{{- range .Values.extraArgs -}}
{{- if regexMatch "^--metrics-c[a-z]*=counter_latencies=false$" . -}}
{{- $stopped = true -}}
{{- end -}}
{{- end -}}
{{- if .Values.autoscaling.enabled -}}
{{- range $index, $metric := .Values.autoscaling.metrics -}}
{{- $source := get $metric (lower $metric.type) | default dict -}}
{{- $name := ($source.metric | default dict).name -}}
{{- $at := printf "autoscaling.metrics[%d] (%s)" $index $name -}}
{{- with get (include "triton.rules" $ | fromJson).metrics ($name | default "") -}}
{{- if and $tag .since (lt (trunc 5 $tag) .since) -}}
{{- fail (printf "%s exists in images from %s on: the autoscaler could not scale. Use a newer image, or another metric." $at .since) -}}
{{- else if and .counted $stopped -}}
{{- fail (printf "%s is lost with --metrics-config=counter_latencies=false in extraArgs: the autoscaler could not scale. Remove that flag." $at) -}}
{{- else if and .engine $engine (ne .engine $engine) -}}
{{- if ne .engine "triton" -}}
{{- fail (printf "%s is reported by %s, which the image does not have: the autoscaler could not scale. Use another metric." $at .engine) -}}
{{- end -}}
{{- $warnings = append $warnings (printf "%s stays near 0, because requests wait in %s and not in Triton's queue: the autoscaler never adds a pod." $at $engine) -}}
{{- end -}}
{{- with $source.target.averageValue | default $source.target.value -}}
{{- $number := include "triton.number" (toString .) | float64 -}}
{{- $rule := get (include "triton.rules" $ | fromJson).metrics $name -}}
{{- if lt $number $rule.lowest -}}
{{- $warnings = append $warnings (printf "%s has the target %s, which an idle pod exceeds: the autoscaler runs maxReplicas. It is probably in another unit." $at .) -}}
{{- else if gt $number $rule.highest -}}
{{- $warnings = append $warnings (printf "%s has the target %s, which no pod reaches: the autoscaler never adds a pod. It is probably in another unit." $at .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $warnings -}}
{{- end -}}

{{/* Parts of the network policy: TCP ports, namespaces by name, addresses. */}}
{{- define "triton.ports" -}}
{{- range . }}
- port: {{ if kindIs "string" . }}{{ . }}{{ else }}{{ int . }}{{ end }}
  protocol: TCP
{{- end }}
{{- end -}}

{{- define "triton.namespaces" -}}
{{- range . }}
- namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "triton.blocks" -}}
{{- range . }}
- ipBlock:
    cidr: {{ . | quote }}
{{- end }}
{{- end -}}

{{/*
Connections to the stores that Triton's pods read, as a JSON list in the form of networkPolicy.egress. Policies know no names: a cloud's store
is any address on port 443, where roles are exchanged for keys as well; another store is its address, or any on its port. The name of a
Service is also its namespace's pods, because policies apply after the Service's port has become the pod's.
*/}}
{{- define "triton.storeEgress" -}}
{{- $from := .Values.modelRepository -}}
{{- $cloud := dict "ports" (list 443) -}}
{{- $rules := ternary (list $cloud) list (not (empty .Values.serviceAccount.annotations)) -}}
{{- range $url := $from.urls | default (list $from.url) -}}
{{- $endpoint := regexFind "^s3://(https?://[^/]+|[^/]+:[0-9]+)/" $url | trimPrefix "s3://" | trimSuffix "/" -}}
{{- if $endpoint -}}
{{- $host := regexReplaceAll "^https?://" $endpoint "" -}}
{{- $number := regexFind ":[0-9]+$" $host -}}
{{- $host = $host | trimSuffix $number | trimPrefix "[" | trimSuffix "]" -}}
{{- $ports := list (int ($number | trimPrefix ":" | default (ternary "443" "80" (hasPrefix "https://" $endpoint)))) -}}
{{- $parts := splitList "." $host -}}
{{- if regexMatch "^[0-9]+([.][0-9]+){3}$" $host -}}
{{- $rules = append $rules (dict "ports" $ports "cidr" (printf "%s/32" $host)) -}}
{{- else if contains ":" $host -}}
{{- $rules = append $rules (dict "ports" $ports "cidr" (printf "%s/128" $host)) -}}
{{- else if eq (len $parts) 1 -}}
{{- $rules = concat $rules (list (dict "ports" $ports) (dict "namespace" $.Release.Namespace)) -}}
{{- else if or (eq (len $parts) 2) (eq (index $parts 2) "svc") -}}
{{- $rules = concat $rules (list (dict "ports" $ports) (dict "namespace" (index $parts 1))) -}}
{{- else -}}
{{- $rules = append $rules (dict "ports" $ports) -}}
{{- end -}}
{{- else if contains "://" $url -}}
{{- $rules = append $rules $cloud -}}
{{- end -}}
{{- end -}}
{{- toJson (uniq $rules) -}}
{{- end -}}
