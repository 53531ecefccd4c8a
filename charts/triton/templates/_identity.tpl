{{/*
Init container that waits until the pod's service account has a token: see files/identity.sh.
*/}}
{{- define "triton.identity" -}}
- name: identity
  image: {{ .Values.image | quote }}
  imagePullPolicy: {{ .Values.imagePullPolicy }}
  command:
    - /bin/bash
    - -c
    - |
      {{- .Files.Get "files/identity.sh" | trim | nindent 6 }}
  terminationMessagePolicy: FallbackToLogsOnError
  resources:
    requests:
      cpu: 10m
      memory: 32Mi
    limits:
      memory: 64Mi
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: {{ .Values.readOnlyRootFilesystem }}
    capabilities:
      drop:
        - ALL
{{- end -}}
