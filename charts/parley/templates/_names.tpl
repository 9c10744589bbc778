{{/* Names and labels. A fullname leaves room for `-controller` and for the ordinals of a StatefulSet. */}}

{{- define "parley.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 48 | trimSuffix "-" -}}
{{- end -}}

{{- define "parley.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else if contains (include "parley.name" .) .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "parley.name" .) | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "parley.installation" -}}
{{- default (printf "%s/%s" .Release.Namespace .Release.Name) .Values.installation -}}
{{- end -}}

{{/* The labels that select pods. They must never change. Call with (list $ "component"). */}}
{{- define "parley.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "parley.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* The same labels as one line, in the syntax of the API's labelSelector parameter. */}}
{{- define "parley.selector" -}}
{{- $pairs := list -}}
{{- range $label, $value := include "parley.selectorLabels" . | fromYaml }}
{{- $pairs = append $pairs (printf "%s=%s" $label $value) }}
{{- end -}}
{{- join "," $pairs -}}
{{- end -}}

{{/* Name of the gateways' HorizontalPodAutoscaler: the chart's own, or the one that KEDA creates for a
     ScaledObject. Empty without autoscaling. */}}
{{- define "parley.autoscaler" -}}
{{- $name := printf "%s-gateway" (include "parley.fullname" .) -}}
{{- if eq .Values.autoscaling.provider "custom-metrics" -}}
{{- $name -}}
{{- else if eq .Values.autoscaling.provider "keda" -}}
keda-hpa-{{ $name }}
{{- end -}}
{{- end -}}

{{/* Labels of pods. They contain no version, so that an upgrade that does not change a pod does not restart
     it. */}}
{{- define "parley.podLabels" -}}
{{ include "parley.selectorLabels" . }}
app.kubernetes.io/part-of: parley
{{- with (index . 0).Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "parley.labels" -}}
{{- $root := index . 0 -}}
{{ include "parley.podLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* Metadata with name, namespace and labels. Call with (list $ "component"). */}}
{{- define "parley.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "parley.fullname" $root }}-{{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "parley.labels" . | nindent 2 }}
{{- end -}}

{{- define "parley.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "parley.sealingSecret" -}}
{{- default (printf "%s-sealing-key" (include "parley.fullname" .)) .Values.sealingKey.existingSecret -}}
{{- end -}}

{{/* URL scheme of the pods: `ws` or `wss`. */}}
{{- define "parley.podScheme" -}}
{{ ternary "wss" "ws" (not (empty .Values.gateway.tls.existingSecret)) }}
{{- end -}}

{{- define "parley.servicePort" -}}
{{ default (ternary 443 80 (eq (include "parley.podScheme" .) "wss")) .Values.gateway.service.port | int }}
{{- end -}}

{{- define "parley.appProtocol" -}}
{{- $asked := .Values.gateway.service.appProtocol -}}
{{ ternary (printf "kubernetes.io/%s" (include "parley.podScheme" .)) $asked (kindIs "invalid" $asked) }}
{{- end -}}

{{/* URL under which clients reach the gateways. The listener of a Gateway is assumed to terminate TLS. */}}
{{- define "parley.publicUrl" -}}
{{- if .Values.controller.publicUrl -}}
{{- .Values.controller.publicUrl -}}
{{- else if and .Values.httpRoute.enabled .Values.httpRoute.hostnames -}}
wss://{{ first .Values.httpRoute.hostnames }}
{{- else if .Values.ingress.enabled -}}
{{ ternary "wss" "ws" (gt (len .Values.ingress.tls) 0) }}://{{ first .Values.ingress.hosts }}
{{- else -}}
{{- $scheme := include "parley.podScheme" . -}}
{{- $port := include "parley.servicePort" . | int -}}
{{ $scheme }}://{{ include "parley.fullname" . }}-gateway.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}{{ if ne $port (ternary 443 80 (eq $scheme "wss")) }}:{{ $port }}{{ end }}
{{- end -}}
{{- end -}}

{{/* Host names of pages that may connect guests, separated by commas. */}}
{{- define "parley.publicHosts" -}}
{{- $hosts := .Values.gateway.publicHosts -}}
{{- if .Values.httpRoute.enabled }}{{ $hosts = concat $hosts .Values.httpRoute.hostnames }}{{ end -}}
{{- if .Values.ingress.enabled }}{{ $hosts = concat $hosts .Values.ingress.hosts }}{{ end -}}
{{- with .Values.controller.publicUrl -}}
{{- $host := (urlParse .).hostname -}}
{{- /* An address needs no entry. */ -}}
{{- if not (contains ":" $host) }}{{ $hosts = append $hosts $host }}{{ end -}}
{{- end -}}
{{- join "," (uniq $hosts) -}}
{{- end -}}

{{/* Two paths of one port are two scrape targets: without a label for the path, both would write the same
     `up` series. */}}
{{- define "parley.metricsPath" -}}
{ sourceLabels: [__metrics_path__], targetLabel: metrics_path }
{{- end -}}
