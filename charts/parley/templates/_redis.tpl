{{/* Addresses, credentials and configuration of Redis. */}}

{{- define "parley.redisHost" -}}
{{- $root := index . 0 -}}
{{- $full := printf "%s-redis" (include "parley.fullname" $root) -}}
{{- printf "%s-%d.%s.%s.svc.%s" $full (int (index . 1)) $full $root.Release.Namespace $root.Values.clusterDomain -}}
{{- end -}}

{{- define "parley.redisUrl" -}}
{{- $scheme := ternary "rediss" "redis" .Values.redis.tls.enabled -}}
{{- if eq .Values.redis.mode "embedded" -}}
redis+sentinel://{{ include "parley.redisHosts" . | replace " " ":26379," }}:26379/parley
{{- else if eq .Values.redis.mode "sentinel" -}}
{{ $scheme }}+sentinel://{{ join "," .Values.redis.addresses }}/{{ .Values.redis.masterName }}
{{- else if eq .Values.redis.mode "cluster" -}}
{{ $scheme }}+cluster://{{ join "," .Values.redis.addresses }}
{{- else -}}
{{ $scheme }}://{{ join "," .Values.redis.addresses }}{{ with int .Values.redis.database }}/{{ . }}{{ end }}
{{- end -}}
{{- end -}}

{{/* Name of the Secret with the password of Redis. Empty if there is no password. */}}
{{- define "parley.redisSecret" -}}
{{- if .Values.redis.existingSecret -}}
{{- .Values.redis.existingSecret -}}
{{- else if eq .Values.redis.mode "embedded" -}}
{{- printf "%s-redis" (include "parley.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* Entry with the password of the Sentinels. The embedded Sentinels have the same password as Redis. */}}
{{- define "parley.sentinelPasswordKey" -}}
{{- if eq .Values.redis.mode "embedded" -}}
{{- .Values.redis.passwordKey -}}
{{- else if eq .Values.redis.mode "sentinel" -}}
{{- .Values.redis.sentinelPasswordKey -}}
{{- end -}}
{{- end -}}

{{- define "parley.redisAuthority" -}}
{{- with .Values.redis.tls.ca }}{{ .secretName }}{{ .configMapName }}{{ end -}}
{{- end -}}

{{- define "parley.redisImage" -}}
{{- with .Values.redis.embedded.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* Ports of Redis for the NetworkPolicies: those of the addresses, and the default ports, because Sentinels
     and Clusters name further nodes. */}}
{{- define "parley.redisPorts" -}}
{{- $ports := list 6379 -}}
{{- if has .Values.redis.mode (list "embedded" "sentinel") }}{{ $ports = append $ports 26379 }}{{ end -}}
{{- range .Values.redis.addresses -}}
{{- with regexFind ":[0-9]+$" . }}{{ $ports = append $ports (trimPrefix ":" . | int) }}{{ end -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}

{{/* Full host names of the three pods, separated by spaces. */}}
{{- define "parley.redisHosts" -}}
{{- $hosts := list -}}
{{- range until 3 }}{{ $hosts = append $hosts (include "parley.redisHost" (list $ .)) }}{{ end -}}
{{- join " " $hosts -}}
{{- end -}}

{{- define "parley.redisPodEnvironment" -}}
- name: POD_NAME
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
- { name: DOMAIN, value: {{ include "parley.redisHost" (list . 0) | splitList "." | rest | join "." }} }
- { name: ME, value: $(POD_NAME).$(DOMAIN) }
- { name: NODES, value: {{ include "parley.redisHosts" . }} }
- name: REDISCLI_AUTH
  valueFrom: { secretKeyRef: { name: {{ include "parley.redisSecret" . }}, key: {{ .Values.redis.passwordKey }} } }
{{- end -}}

{{/* Bytes of a quantity of memory, such as `1.5Gi` or `800M`. Empty for an empty quantity. */}}
{{- define "parley.bytes" -}}
{{- $quantity := . | toString -}}
{{- if . -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $unit := regexFind "[A-Za-z]*$" $quantity -}}
{{- if not (hasKey $units $unit) }}{{ fail (printf "cannot read %q as a quantity of memory: use a number with Ki, Mi, Gi, Ti, k, M, G, T or no unit" $quantity) }}{{ end -}}
{{- mulf (trimSuffix $unit $quantity | float64) (get $units $unit) | floor | int64 -}}
{{- end -}}
{{- end -}}

{{/* The limit of what the embedded Redis stores, in bytes. Empty: none. */}}
{{- define "parley.redisMaxMemory" -}}
{{- with .Values.redis.embedded -}}
{{- $limits := .resources.limits | default dict -}}
{{- $requests := .resources.requests | default dict -}}
{{- $memory := include "parley.bytes" (get $limits "memory" | default (get $requests "memory")) -}}
{{- if and $memory .maxMemoryPercent }}{{ div (mul (int64 $memory) (int64 .maxMemoryPercent)) 100 }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* Files of the embedded Redis. Its pods restart when one of them changes. */}}
{{- define "parley.redisConfiguration" -}}
{{- range list "find-master.sh" "redis.sh" "sentinel.sh" "ready.sh" "sentinel.conf" }}
{{ . }}: |
  {{- $.Files.Get (printf "files/redis/%s" .) | trim | nindent 2 }}
{{- end }}
redis.conf: |
  {{- .Files.Get "files/redis/redis.conf" | trim | nindent 2 }}
  {{- with include "parley.redisMaxMemory" . }}
  maxmemory {{ . }}
  {{- end }}
  {{- with .Values.redis.embedded.config }}
  {{- . | trim | nindent 2 }}
  {{- end }}
master.conf: |
  down-after-milliseconds parley {{ int .Values.redis.embedded.downAfterMs }}
  failover-timeout parley 10000
  parallel-syncs parley 1
{{- end -}}
