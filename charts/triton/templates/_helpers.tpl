{{/* Name of every object: the release's own. One release is one deployment. */}}
{{- define "triton.name" -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* What the Service, the budget and the monitor find pods by. Never changes: a Deployment's selector is immutable. */}}
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

{{/* Seconds that Kubernetes lets a pod have from the start of preStop to SIGKILL. */}}
{{- define "triton.gracePeriod" -}}
{{- add (int .Values.drain.preStopSeconds) (int .Values.drain.exitTimeoutSeconds) (int .Values.drain.marginSeconds) -}}
{{- end -}}

{{/*
Startup probe. A look every 2 s: the port is closed until all models are loaded, so a look costs nothing, and what is
waited for after the last one is time that a scale-up comes late.
*/}}
{{- define "triton.startupProbe" -}}
{{- with .Values.probes.startup -}}
periodSeconds: {{ int .periodSeconds }}
timeoutSeconds: {{ int .timeoutSeconds }}
failureThreshold: {{ int .failureThreshold }}
{{- else -}}
periodSeconds: 2
timeoutSeconds: 2
failureThreshold: {{ div (add (int .Values.probes.startupBudgetSeconds) 1) 2 | max 1 }}
{{- end -}}
{{- end -}}

{{/* What Triton reads its models from, as a JSON list. */}}
{{- define "triton.repositories" -}}
{{- $from := .Values.modelRepository -}}
{{- if not (or $from.url $from.urls) -}}
{{- fail "modelRepository.url is not set: Triton would have no models. Set it, such as s3://bucket/prefix." -}}
{{- else if and $from.url $from.urls -}}
{{- fail "modelRepository.url and modelRepository.urls are both set: models of either could hide those of the other. Set one of them." -}}
{{- else if and (eq $from.mode "poll") $from.models -}}
{{- fail "modelRepository.models is set with mode poll: Triton loads all that is there, whatever they name. Leave them out, or use another mode." -}}
{{- else if and .Values.prefetch.enabled (ne $from.mode "release") -}}
{{- fail (printf "prefetch.enabled is true with modelRepository.mode %s: the copy would never see a change. Use mode release, or turn prefetch off." $from.mode) -}}
{{- end -}}
{{- if .Values.prefetch.enabled -}}
{{- toJson (list "/models/release") -}}
{{- else -}}
{{- toJson ($from.urls | default (list $from.url)) -}}
{{- end -}}
{{- end -}}
