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

{{/* Rule for scraping metrics. Call with (list $ port). A namespaceSelector matches only pods, so the default
     admits nothing from outside the cluster. */}}
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
