{{/*
The folder of the releases as environment variables of rclone. The URL takes Triton's forms: s3://bucket/path,
s3://http(s)://host:port/bucket/path, s3://host:port/bucket/path (plain HTTP), gs://bucket/path.
*/}}
{{- define "triton.prefetchPlace" -}}
{{- $url := required "modelRepository.url is not set: prefetch would have no source. Set it to the folder of all releases, such as s3://bucket/prefix." .Values.modelRepository.url | trimSuffix "/" -}}
{{- $path := "" -}}
{{- if hasPrefix "gs://" $url -}}
{{- $path = printf ":gcs:%s" (trimPrefix "gs://" $url) }}
# The pod's own identity. With uniform access there are no ACLs to read.
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
# Also the region where the service account's token is exchanged for a role's keys.
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- else -}}
{{- fail (printf "modelRepository.url (%s) is neither s3:// nor gs://: prefetch can copy from object stores only. Turn prefetch off, or set an object store." $url) -}}
{{- end }}
- name: BASE
  value: {{ $path | quote }}
{{- end -}}

{{/* The init container that copies the models. Its requests stay below those of the server, so the pod needs no larger node. */}}
{{- define "triton.prefetch" -}}
{{- if not (regexMatch "^[0-9a-f]{64}$" .Values.modelRepository.release) -}}
{{- fail (printf "modelRepository.release (%s) must be a SHA-256 in hex: prefetch could not verify the copy. Set it to the release's content hash, or turn prefetch off." .Values.modelRepository.release) -}}
{{- end -}}
- name: prefetch
  image: {{ .Values.prefetch.image | quote }}
  imagePullPolicy: {{ .Values.imagePullPolicy }}
  command:
    - /bin/sh
    - -c
    # In the pod template, not in a ConfigMap: a changed script is a new rollout and never reaches old pods.
    - |
      {{- .Files.Get "files/prefetch.sh" | trim | nindent 6 }}
  env:
    - name: HOME
      value: /tmp
    # Below the container's limit, so that Go's garbage collector frees memory before the container is killed.
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
  # The script writes the reason of a failure to the termination message; after any other failure it is the end of the log.
  terminationMessagePolicy: FallbackToLogsOnError
  resources:
    requests:
      cpu: {{ .Values.resources.cpu | quote }}
      memory: 256Mi
      {{- if and .Values.prefetch.volume.size (not .Values.prefetch.volume.storageClass) }}
      # So that the pod is scheduled to a node with enough disk.
      ephemeral-storage: {{ .Values.prefetch.volume.size | quote }}
      {{- end }}
    limits:
      memory: 512Mi
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: {{ .Values.readOnlyRootFilesystem }}
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
{{- if .Values.prefetch.volume.storageClass -}}
ephemeral:
  volumeClaimTemplate:
    spec:
      accessModes:
        - ReadWriteOnce
      storageClassName: {{ .Values.prefetch.volume.storageClass | quote }}
      resources:
        requests:
          storage: {{ required "prefetch.volume.size is not set: a volume of a storage class needs a size. Set it above the size of the models." .Values.prefetch.volume.size | quote }}
{{- else if .Values.prefetch.volume.size -}}
emptyDir:
  sizeLimit: {{ .Values.prefetch.volume.size | quote }}
{{- else -}}
emptyDir: {}
{{- end -}}
{{- end -}}
