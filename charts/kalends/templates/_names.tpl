{{/* Names, labels, images: what every object has. */}}

{{- define "kalends.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "kalends.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "kalends.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "kalends.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels by which pods of a component are found; they never change. Takes root and component. */}}
{{- define "kalends.selector" -}}
app.kubernetes.io/name: {{ include "kalends.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* Labels of every object. Takes root and component. */}}
{{- define "kalends.labels" -}}
{{ include "kalends.selector" . }}
app.kubernetes.io/part-of: kalends
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* An image's full name. Takes root and image. */}}
{{- define "kalends.image" -}}
{{- $registry := default .image.registry .root.Values.global.imageRegistry -}}
{{- $name := .image.repository -}}
{{- with $registry -}}{{- $name = printf "%s/%s" . $name -}}{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "kalends.pullSecrets" -}}
{{- with .Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A storage class's line. Takes root and storage. */}}
{{- define "kalends.storageClass" -}}
{{- with default .root.Values.global.storageClass .storage.storageClass }}
storageClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* "yes" where something `auto`, true or false is on. Takes root, flag and api. */}}
{{- define "kalends.enabled" -}}
{{- if eq (toString .flag) "auto" -}}
{{- if .root.Capabilities.APIVersions.Has .api -}}yes{{- end -}}
{{- else if .flag -}}yes{{- end -}}
{{- end -}}

{{/* A Secret's name: that of one that exists, else one of ours. Takes root, existing and name. */}}
{{- define "kalends.secretName" -}}
{{- default (printf "%s-%s" (include "kalends.fullname" .root) .name) .existing -}}
{{- end -}}

{{- define "kalends.scheme" -}}{{ if .Values.tls.existingSecret }}https{{ else }}http{{ end }}{{- end -}}

{{/* Where clients inside the cluster find HTTP. */}}
{{- define "kalends.url" -}}
{{- printf "%s://%s.%s.svc:%s" (include "kalends.scheme" .) (include "kalends.fullname" .) .Release.Namespace (include "kalends.port" .) -}}
{{- end -}}

{{/* The effective settings of one role, as YAML. Takes root and role (a dictionary). */}}
{{- define "kalends.roleSettings" -}}
{{- mustMergeOverwrite (include "kalends.settings" .root | fromYaml) (deepCopy .role.settings) | toYaml -}}
{{- end -}}

{{/* A role's block over what every role has, as YAML. Takes root and name. */}}
{{- define "kalends.role" -}}
{{- mustMergeOverwrite (deepCopy .root.Values.roleDefaults) (deepCopy (index .root.Values .name)) | toYaml -}}
{{- end -}}

{{/* "yes" where index and search live in one process, because an engine is embedded. */}}
{{- define "kalends.embedded" -}}
{{- $settings := include "kalends.settings" . | fromYaml -}}
{{- if not (and $settings.opensearch.urls $settings.qdrant.url) -}}yes{{- end -}}
{{- end -}}

{{- define "kalends.port" -}}{{ (include "kalends.settings" . | fromYaml).http.port }}{{- end -}}
{{- define "kalends.opsPort" -}}{{ (include "kalends.settings" . | fromYaml).http.ops_port }}{{- end -}}
