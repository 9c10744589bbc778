{{/* Pieces of the NetworkPolicies. */}}

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

{{/* Who may scrape: call with (list $ port). Only a pod has a namespace, so the rule without a name lets no one in from outside. */}}
{{- define "parley.ingressMetrics" -}}
{{- $root := index . 0 -}}
- ports:
    - { port: {{ index . 1 }}, protocol: TCP }
  from:
    {{- with $root.Values.networkPolicy.metricsFrom }}
    {{- toYaml . | nindent 4 }}
    {{- else }}
    - namespaceSelector: {}
    {{- end }}
{{- end -}}
