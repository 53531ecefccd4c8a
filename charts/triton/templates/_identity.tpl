{{/*
Init container that waits for the identity of the pod: see files/identity.sh.
*/}}
{{- define "triton.identity" -}}
- name: identity
  image: {{ .Values.image.reference | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
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
    readOnlyRootFilesystem: {{ .Values.security.readOnlyRootFilesystem }}
    capabilities:
      drop:
        - ALL
{{- end -}}
