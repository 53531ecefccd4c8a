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
