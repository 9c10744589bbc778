{{/* Parts that the pods share. */}}

{{/* Meets the restricted Pod Security Standard. The image defines the user. */}}
{{- define "parley.podSecurityContext" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "parley.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Scheduling of a pod. Call with (list $ .Values.<component>). */}}
{{- define "parley.placement" -}}
{{- $root := index . 0 -}}
{{- $of := index . 1 -}}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $of.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $of.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $of.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Arguments that the gateway and the controller share. */}}
{{- define "parley.redisArguments" -}}
- --redis={{ include "parley.redisUrl" . }}
{{- with .Values.redis.dataNodes }}
- --data-nodes={{ . }}
{{- end }}
- --installation={{ include "parley.installation" . }}
{{- if include "parley.redisAuthority" . }}
- --redis-ca-file=/etc/parley/redis-ca/{{ .Values.redis.tls.ca.key }}
{{- end }}
{{- if .Values.redis.tls.clientCertificate.secretName }}
- --redis-cert-file=/etc/parley/redis-certificate/tls.crt
- --redis-key-file=/etc/parley/redis-certificate/tls.key
{{- end }}
{{- if .Values.tenants.allowPrivateJwks }}
- --allow-private-jwks
{{- end }}
{{- end -}}

{{/* Environment variables: the login for Redis, and those of the values. Call with (list $ extraEnv). Empty
     if there are none. */}}
{{- define "parley.environment" -}}
{{- $root := index . 0 -}}
{{- $environment := list -}}
{{- with include "parley.redisSecret" $root -}}
{{- with $root.Values.redis.username -}}
{{- $environment = append $environment (dict "name" "PARLEY_REDIS_USERNAME" "value" .) -}}
{{- end -}}
{{- $password := dict "secretKeyRef" (dict "name" . "key" $root.Values.redis.passwordKey) -}}
{{- $environment = append $environment (dict "name" "PARLEY_REDIS_PASSWORD" "valueFrom" $password) -}}
{{- $secret := . -}}
{{- with include "parley.sentinelPasswordKey" $root -}}
{{- with $root.Values.redis.sentinelUsername -}}
{{- $environment = append $environment (dict "name" "PARLEY_REDIS_SENTINEL_USERNAME" "value" .) -}}
{{- end -}}
{{- $password := dict "secretKeyRef" (dict "name" $secret "key" .) -}}
{{- $environment = append $environment (dict "name" "PARLEY_REDIS_SENTINEL_PASSWORD" "valueFrom" $password) -}}
{{- end -}}
{{- end -}}
{{- with concat $environment (index . 1) }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* Volumes with the files that the gateway and the controller read. They are mounted as a whole, because a
     file mounted by `subPath` is never updated. */}}
{{- define "parley.volumes" -}}
- name: sealing-key
  secret: { secretName: {{ include "parley.sealingSecret" . }} }
{{- if not $.Values.controller.enabled }}
- name: tenants
  secret: { secretName: {{ $.Values.tenants.existingSecret }} }
{{- end }}
{{- if include "parley.redisAuthority" . }}
- name: redis-ca
  {{- with $.Values.redis.tls.ca.secretName }}
  secret: { secretName: {{ . }} }
  {{- end }}
  {{- with $.Values.redis.tls.ca.configMapName }}
  configMap: { name: {{ . }} }
  {{- end }}
{{- end }}
{{- with $.Values.redis.tls.clientCertificate.secretName }}
- name: redis-certificate
  secret: { secretName: {{ . }} }
{{- end }}
{{- end -}}

{{- define "parley.volumeMounts" -}}
- { name: sealing-key, mountPath: /etc/parley/sealing-key, readOnly: true }
{{- if not $.Values.controller.enabled }}
- { name: tenants, mountPath: /etc/parley/tenants, readOnly: true }
{{- end }}
{{- if include "parley.redisAuthority" . }}
- { name: redis-ca, mountPath: /etc/parley/redis-ca, readOnly: true }
{{- end }}
{{- if $.Values.redis.tls.clientCertificate.secretName }}
- { name: redis-certificate, mountPath: /etc/parley/redis-certificate, readOnly: true }
{{- end }}
{{- end -}}

{{/* Annotations and labels of pods that Prometheus scrapes. Call with a dict of root, component, port and
     values. */}}
{{- define "parley.podMetadata" -}}
{{- $annotations := deepCopy .values.podAnnotations -}}
{{- if .root.Values.monitoring.scrapeAnnotations -}}
{{- $scrape := dict "prometheus.io/scrape" "true" "prometheus.io/port" (toString .port) "prometheus.io/path" "/metrics" -}}
{{- $annotations = merge $annotations $scrape -}}
{{- end -}}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
labels:
  {{- include "parley.podLabels" (list .root .component) | nindent 2 }}
  {{- with .values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
