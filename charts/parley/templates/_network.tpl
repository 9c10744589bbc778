{{/* Parts that the NetworkPolicies share. */}}

{{- define "parley.egressDns" -}}
- ports:
    - { port: 53, protocol: UDP }
    - { port: 53, protocol: TCP }
{{- end -}}

{{- define "parley.egressRedis" -}}
- ports:
    {{- range include "parley.redisPorts" . | fromJsonArray }}
    - { port: {{ int . }}, protocol: TCP }
    {{- end }}
  {{- if eq .Values.redis.mode "embedded" }}
  to:
    - podSelector:
        matchLabels:
          {{- include "parley.selectorLabels" (list . "redis") | nindent 10 }}
  {{- end }}
{{- end -}}

{{/* Rules for the operators' port. Call with (list $ port). Without sources there is no rule, because an empty
     `from` admits everybody. The probes of the kubelet come from the pod's own node, to which a NetworkPolicy
     does not apply. */}}
{{- define "parley.ingressMetrics" -}}
{{- $root := index . 0 -}}
{{- with $root.Values.networkPolicy.metricsFrom -}}
- ports:
    - { port: {{ index $ 1 }}, protocol: TCP }
  from:
    {{- toYaml . | nindent 4 }}
{{- end -}}
{{- end -}}
