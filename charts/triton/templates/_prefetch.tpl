{{/*
Where releases lie, in rclone's words, as environment variables. The forms of the URL are Triton's own: s3://bucket/path,
s3://http(s)://host:port/bucket/path, s3://host:port/bucket/path (plain HTTP), gs://bucket/path.
*/}}
{{- define "triton.prefetchPlace" -}}
{{- $url := required "modelRepository.url is not set: prefetch would have nowhere to copy from. Set it to the folder of all releases, such as s3://bucket/prefix." .Values.modelRepository.url | trimSuffix "/" -}}
{{- $path := "" -}}
{{- if hasPrefix "gs://" $url -}}
{{- $path = printf ":gcs:%s" (trimPrefix "gs://" $url) }}
# The pod's own identity; uniform access, so no ACL is asked for.
- name: RCLONE_GCS_ENV_AUTH
  value: "true"
- name: RCLONE_GCS_BUCKET_POLICY_ONLY
  value: "true"
{{- else if hasPrefix "s3://" $url -}}
{{- $rest := trimPrefix "s3://" $url -}}
{{- $endpoint := regexFind "^https?://[^/]+" $rest -}}
{{- if $endpoint -}}
{{- $rest = trimPrefix (printf "%s/" $endpoint) $rest -}}
{{- else if regexMatch "^[^/]+:[0-9]+/" $rest -}}
{{- $host := regexFind "^[^/]+" $rest -}}
{{- $endpoint = printf "http://%s" $host -}}
{{- $rest = trimPrefix (printf "%s/" $host) $rest -}}
{{- end -}}
{{- $path = printf ":s3:%s" $rest }}
# The pod's own identity, or the keys of the Secret.
- name: RCLONE_S3_ENV_AUTH
  value: "true"
- name: RCLONE_S3_PROVIDER
  value: {{ ternary "Other" "AWS" (ne $endpoint "") }}
{{- with $endpoint }}
- name: RCLONE_S3_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- with .Values.modelRepository.region }}
- name: RCLONE_S3_REGION
  value: {{ . | quote }}
# The exchange of the service account's token for a role's keys is asked for there too.
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- else -}}
{{- fail (printf "modelRepository.url (%s) is neither s3:// nor gs://: prefetch can't copy from there. Turn prefetch off, or name an object store." $url) -}}
{{- end }}
- name: BASE
  value: {{ $path | quote }}
{{- end -}}

{{/* The init container that copies. It asks for nothing that the server's container doesn't, but memory of its own. */}}
{{- define "triton.prefetch" -}}
{{- if not (regexMatch "^[0-9a-f]{64}$" .Values.modelRepository.release) -}}
{{- fail (printf "modelRepository.release (%s) is no SHA-256 in hex: prefetch would have nothing to verify the copy against. Set it to the release's content hash, or turn prefetch off." .Values.modelRepository.release) -}}
{{- end -}}
- name: prefetch
  image: {{ .Values.prefetch.image | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command:
    - /bin/sh
    - -c
    # In the pod template, not in a ConfigMap: another script is another rollout, and never reaches pods of the old one.
    - |
      {{- .Files.Get "files/prefetch.sh" | trim | nindent 6 }}
  env:
    - name: HOME
      value: /tmp
    # Told to Go's collector before the limit is: the copy then works with less instead of being killed.
    - name: GOMEMLIMIT
      value: 400MiB
    - name: RELEASE
      value: {{ .Values.modelRepository.release | quote }}
    - name: VOLUME
      value: /models
    - name: PARALLELISM
      value: {{ int .Values.prefetch.parallelism | quote }}
    - name: MODELS
      value: {{ join " " .Values.prefetch.models | quote }}
    {{- include "triton.prefetchPlace" . | trim | nindent 4 }}
    {{- if .Values.modelRepository.keyFileSecret }}
    - name: GOOGLE_APPLICATION_CREDENTIALS
      value: /etc/secrets/keyfile.json
    {{- end }}
  {{- with .Values.modelRepository.credentialsSecret }}
  envFrom:
    - secretRef:
        name: {{ . | quote }}
  {{- end }}
  # The script writes its reason there; what it can't foresee is told by the log's end.
  terminationMessagePolicy: FallbackToLogsOnError
  resources:
    requests:
      cpu: {{ .Values.resources.cpu | quote }}
      memory: 256Mi
      {{- if and .Values.prefetch.size (not .Values.prefetch.storageClass) }}
      # So that the pod goes to a node that has the room.
      ephemeral-storage: {{ .Values.prefetch.size | quote }}
      {{- end }}
    limits:
      memory: 512Mi
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: {{ .Values.security.readOnlyRootFilesystem }}
    capabilities:
      drop:
        - ALL
  volumeMounts:
    - name: models
      mountPath: /models
    - name: tmp
      mountPath: /tmp
    {{- if .Values.modelRepository.keyFileSecret }}
    - name: gcsfs-creds
      mountPath: /etc/secrets
      readOnly: true
    {{- end }}
{{- end -}}

{{- define "triton.prefetchVolume" -}}
{{- if .Values.prefetch.storageClass -}}
ephemeral:
  volumeClaimTemplate:
    spec:
      accessModes:
        - ReadWriteOnce
      storageClassName: {{ .Values.prefetch.storageClass | quote }}
      resources:
        requests:
          storage: {{ required "prefetch.size is not set: a volume of a storage class needs one. Set it to more than the models' bytes." .Values.prefetch.size | quote }}
{{- else if .Values.prefetch.size -}}
emptyDir:
  sizeLimit: {{ .Values.prefetch.size | quote }}
{{- else -}}
emptyDir: {}
{{- end -}}
{{- end -}}
