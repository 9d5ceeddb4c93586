{{/* Rules of egress that several policies have. */}}

{{- define "kalends.egress.names" -}}
- to:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: kube-system}
      podSelector:
        matchLabels: {k8s-app: kube-dns}
  ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- end -}}

{{/* The API server is no pod, so it has no labels: only its ports can be said. */}}
{{- define "kalends.egress.apiServer" -}}
{{ include "kalends.egress.names" . }}
- ports: [{{ range $place, $port := .Values.networkPolicy.apiServerPorts }}{{ if $place }}, {{ end }}{port: {{ $port }}}{{ end }}]
{{- end -}}

{{- define "kalends.egress.gateway" -}}
- to:
    - podSelector:
        matchLabels:
          {{- include "kalends.selector" (dict "root" . "component" "gateway") | nindent 10 }}
  ports: [{port: 8080}]
{{- end -}}

{{/* The ports of external servers, as YAML. */}}
{{- define "kalends.egress.externalPorts" -}}
{{- $external := .Values.external -}}
{{- $urls := list -}}
{{- if not .Values.nats.enabled -}}{{- $urls = append $urls (include "kalends.settings" . | fromYaml).log.url -}}{{- end -}}
{{- if not .Values.opensearch.enabled -}}{{- $urls = append $urls $external.opensearch.urls -}}{{- end -}}
{{- if not .Values.qdrant.enabled -}}{{- $urls = append $urls $external.qdrant.url -}}{{- end -}}
{{- range $external.models -}}{{- $urls = append $urls .urls -}}{{- end -}}
{{- $ports := list -}}
{{- range $url := splitList "," (join "," (compact $urls)) -}}
{{- if $url -}}
{{- $port := regexFind ":[0-9]+(/|$)" $url | trimPrefix ":" | trimSuffix "/" -}}
{{- if $port -}}{{- $ports = append $ports (int $port) -}}
{{- else -}}{{- $ports = append $ports (ternary 443 80 (hasPrefix "https" $url)) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | toYaml -}}
{{- end -}}
