{{/* The objects in the files of files/ that match a glob, with the release's labels. Call with
     (list $ "glob"). */}}
{{- define "parley.documents" -}}
{{- $root := index . 0 -}}
{{- range $path, $_ := $root.Files.Glob (index . 1) }}
{{- range regexSplit "(?m)^---\n" ($root.Files.Get $path) -1 }}
{{- $object := fromYaml . }}
{{- $labels := include "parley.labels" (list $root "api") | fromYaml }}
{{- $_ := set $object.metadata "labels" (merge $labels (default dict $object.metadata.labels)) }}
{{- if and (eq $object.kind "CustomResourceDefinition") $root.Values.crds.keep }}
{{- $kept := dict "helm.sh/resource-policy" "keep" }}
{{- $_ := set $object.metadata "annotations" (merge $kept (default dict $object.metadata.annotations)) }}
{{- end }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}
{{- end -}}
