{{/* What pods have in common: nobody is root, nothing can be written but /tmp and volumes, nothing is mounted that is not asked for. */}}

{{/* Security of a pod. Takes a uid. */}}
{{- define "kalends.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "kalends.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* Where pods go. Takes root, component and place (nodeSelector, tolerations, affinity, priorityClassName). */}}
{{- define "kalends.placing" -}}
{{- if .root.Values.topologySpread.enabled }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: {{ $.root.Values.topologySpread.whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "kalends.selector" (dict "root" $.root "component" $.component) | nindent 8 }}
  {{- end }}
{{- end }}
{{- with .place.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .place.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .place.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .place.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* The Secrets that processes of Kalends read, as YAML: {items: [{name, secret}]}; each is mounted at /run/kalends/NAME. */}}
{{- define "kalends.secrets" -}}
{{- $found := list -}}
{{- $settings := include "kalends.settings" . | fromYaml -}}
{{- if eq $settings.keys.kind "folder" -}}
{{- $found = append $found (dict "name" "keys" "secret" (include "kalends.secretName" (dict "root" . "existing" .Values.secrets.kek.existingSecret "name" "kek"))) -}}
{{- end -}}
{{- if .Values.tls.existingSecret -}}
{{- $found = append $found (dict "name" "tls" "secret" .Values.tls.existingSecret) -}}
{{- end -}}
{{- if .Values.nats.enabled -}}
{{- $found = append $found (dict "name" "nats" "secret" (include "kalends.secretName" (dict "root" . "existing" .Values.nats.existingSecret "name" "nats")) "only" "password") -}}
{{- with .Values.nats.tlsSecret -}}{{- $found = append $found (dict "name" "nats-ca" "secret" . "only" "ca.crt") -}}{{- end -}}
{{- else if .Values.external.nats.existingSecret -}}
{{- $found = append $found (dict "name" "nats" "secret" .Values.external.nats.existingSecret) -}}
{{- end -}}
{{- if .Values.qdrant.enabled -}}
{{- $found = append $found (dict "name" "qdrant" "secret" (include "kalends.secretName" (dict "root" . "existing" .Values.qdrant.existingSecret "name" "qdrant")) "only" "api-key") -}}
{{- else if and .Values.external.qdrant.url .Values.external.qdrant.existingSecret -}}
{{- $found = append $found (dict "name" "qdrant" "secret" .Values.external.qdrant.existingSecret) -}}
{{- end -}}
{{- if and (not .Values.opensearch.enabled) .Values.external.opensearch.urls .Values.external.opensearch.existingSecret -}}
{{- $found = append $found (dict "name" "opensearch" "secret" .Values.external.opensearch.existingSecret) -}}
{{- end -}}
{{- range $kind := list "embedder" "reranker" "chat" -}}
{{- $given := index $.Values.external.models $kind -}}
{{- $served := include "kalends.vllm" (dict "root" $ "kind" $kind) | fromYaml -}}
{{- if and (not $served.enabled) $given.urls $given.existingSecret -}}
{{- $found = append $found (dict "name" $kind "secret" $given.existingSecret) -}}
{{- end -}}
{{- end -}}
{{- range .Values.secretMounts -}}
{{- $found = append $found (dict "name" .name "secret" .secretName) -}}
{{- end -}}
{{- dict "items" $found | toYaml -}}
{{- end -}}

{{- define "kalends.credentialsName" -}}
{{- include "kalends.secretName" (dict "root" . "existing" .Values.secrets.credentials.existingSecret "name" "credentials") -}}
{{- end -}}
