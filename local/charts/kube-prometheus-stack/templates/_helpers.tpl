{{/* As in upstream: fullnameOverride, else the release's name if it contains the chart's, else both; at most 26 characters, for derived names. */}}
{{- define "kps.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 26 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 26 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 26 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "kps.labels" -}}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.Version | quote }}
app.kubernetes.io/part-of: {{ .Chart.Name }}
chart: {{ .Chart.Name }}-{{ .Chart.Version }}
release: {{ .Release.Name | quote }}
heritage: {{ .Release.Service | quote }}
{{- end -}}

{{/* A selector for monitors or rules of this release, or for all. Argument: dict with release and own (bool). */}}
{{- define "kps.selector" -}}
{{- if .own -}}
{matchLabels: {release: {{ .release | quote }}}}
{{- else -}}
{}
{{- end -}}
{{- end -}}

{{- define "kps.image" -}}
{{ .registry }}/{{ .repository }}:{{ .tag }}
{{- end -}}
