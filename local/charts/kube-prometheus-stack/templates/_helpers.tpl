{{/* As upstream: fullnameOverride, else the release's name if it contains the chart's, else both; 26 characters, for the names made of it. */}}
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

{{/* A selector of monitors or rules: of this release only, or everything. Argument: dict release, own (bool). */}}
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
