{{/* Checks that the schema cannot express: values that are valid by themselves but not in combination. */}}

{{- define "parley.gracePeriodSeconds" -}}
{{- $least := add .Values.gateway.preStopSleepSeconds .Values.gateway.drainWindowSeconds .Values.gateway.terminationMarginSeconds -}}
{{- $asked := .Values.gateway.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $asked -}}
{{- $least -}}
{{- else if lt (int64 $asked) $least -}}
{{- fail (printf "gateway.terminationGracePeriodSeconds is %d, but a pod needs %d (preStopSleepSeconds + drainWindowSeconds + terminationMarginSeconds): a shorter period disconnects clients in the middle of a drain. Leave it empty, or increase it." (int64 $asked) $least) -}}
{{- else -}}
{{- int64 $asked -}}
{{- end -}}
{{- end -}}

{{- define "parley.targetConnections" -}}
{{- $most := int64 .Values.gateway.maxConnections -}}
{{- $target := int64 (default (div (mul $most 7) 10) .Values.autoscaling.targetConnections) -}}
{{- if gt $target $most -}}
{{- fail (printf "autoscaling.targetConnections is %d, but gateway.maxConnections is %d: a pod would be full before the autoscaler adds another one. Set a lower target." $target $most) -}}
{{- end -}}
{{- $target -}}
{{- end -}}

{{- define "parley.checks" -}}
{{- if and .Values.gateway.proxyProtocol (not .Values.gateway.trustedProxies) -}}
{{- fail "gateway.proxyProtocol needs gateway.trustedProxies: a header of the PROXY protocol is accepted only from the proxies in that list." -}}
{{- end -}}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) -}}
{{- fail (printf "autoscaling.minReplicas is %d, but autoscaling.maxReplicas is only %d." (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- if and (eq .Values.autoscaling.provider "keda") (not .Values.autoscaling.keda.serverAddress) -}}
{{- fail "autoscaling.keda.serverAddress must name the Prometheus that KEDA queries, such as http://prometheus.monitoring:9090." -}}
{{- end -}}
{{- if eq .Values.redis.mode "embedded" -}}
{{- if .Values.redis.addresses }}{{ fail "redis.addresses is not used with the embedded Redis: set redis.mode to sentinel, cluster or standalone." }}{{ end -}}
{{- if .Values.redis.tls.enabled }}{{ fail "redis.tls.enabled is true, but the embedded Redis does not support TLS: use your own Redis, or set it to false." }}{{ end -}}
{{- if .Values.redis.username }}{{ fail "redis.username is set, but the embedded Redis has only the user default: use your own Redis, or leave it empty." }}{{ end -}}
{{- else if not .Values.redis.addresses -}}
{{- fail (printf "redis.addresses must name your Redis, because redis.mode is %s." .Values.redis.mode) -}}
{{- end -}}
{{- if and (eq .Values.redis.mode "sentinel") (not .Values.redis.masterName) -}}
{{- fail "redis.masterName must be the name of the master in the configuration of the Sentinels." -}}
{{- end -}}
{{- if and (eq .Values.redis.mode "standalone") (gt (len .Values.redis.addresses) 1) -}}
{{- fail "redis.addresses names several servers: set redis.mode to sentinel or cluster." -}}
{{- end -}}
{{- if and .Values.redis.username (not .Values.redis.existingSecret) -}}
{{- fail "redis.existingSecret must name a Secret with the password of redis.username." -}}
{{- end -}}
{{- if and (include "parley.redisAuthority" .) (not .Values.redis.tls.enabled) -}}
{{- fail "redis.tls.ca is set, but redis.tls.enabled is false." -}}
{{- end -}}
{{- if and .Values.redis.tls.clientCertificate.secretName (not .Values.redis.tls.enabled) -}}
{{- fail "redis.tls.clientCertificate is set, but redis.tls.enabled is false." -}}
{{- end -}}
{{- if and .Values.redis.tls.ca.secretName .Values.redis.tls.ca.configMapName -}}
{{- fail "redis.tls.ca names both a Secret and a ConfigMap: set only one of them." -}}
{{- end -}}
{{- if and (not .Values.controller.enabled) (not .Values.tenants.existingSecret) -}}
{{- fail "Without the controller, tenants.existingSecret must name a Secret with the tenants' manifests." -}}
{{- end -}}
{{- if and .Values.controller.enabled .Values.tenants.existingSecret -}}
{{- fail "tenants.existingSecret is for gateways without a controller: set controller.enabled to false, or apply the manifests to the cluster." -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs must name the Gateway that the HTTPRoute attaches to." -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts must name at least one host." -}}
{{- end -}}
{{- end -}}
