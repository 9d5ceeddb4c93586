{{/*
The settings of Kalends: what the chart works out from its values, and over it `settings`. A newcomer would get wrong: secrets are never
values here but the paths at which they are mounted, and the mounts of `_pods.tpl` must name the same paths.
*/}}
{{- define "kalends.settings" -}}
{{- $name := include "kalends.fullname" . -}}
{{- $at := "/run/kalends" -}}
{{- $http := dict "host" "0.0.0.0" "port" 7410 "ops_port" 7411 "drain_s" 10 -}}
{{- $auth := dict "token_file" (printf "%s/private/token" $at) -}}
{{- $erasure := dict "signing_key_file" (printf "%s/private/receipt-key" $at) -}}
{{- $keys := dict "kind" "folder" "folder" (printf "%s/keys" $at) -}}
{{- $tls := dict "allow_plain" true -}}
{{- if .Values.tls.existingSecret -}}
{{- $tls = dict "certificate_file" (printf "%s/tls/tls.crt" $at) "key_file" (printf "%s/tls/tls.key" $at) "ca_file" (printf "%s/tls/ca.crt" $at) -}}
{{- end -}}
{{- $log := include "kalends.settings.log" . | fromYaml -}}
{{- $opensearch := include "kalends.settings.opensearch" . | fromYaml -}}
{{- $qdrant := include "kalends.settings.qdrant" . | fromYaml -}}
{{- $chosen := dict "http" $http "auth" $auth "erasure" $erasure "keys" $keys "tls" $tls "log" $log "opensearch" $opensearch "qdrant" $qdrant -}}
{{- range $kind := list "embedder" "reranker" -}}
{{- $model := include "kalends.settings.model" (dict "root" $ "kind" $kind) | fromYaml -}}
{{- if $model -}}{{- $_ := set $chosen $kind $model -}}{{- end -}}
{{- end -}}
{{- $chat := include "kalends.settings.model" (dict "root" $ "kind" "chat") | fromYaml -}}
{{- if $chat -}}
{{- $summarize := dict "chat_url" $chat.urls "chat_model" $chat.model -}}
{{- if hasKey $chat "key_file" -}}{{- $_ := set $summarize "chat_key_file" $chat.key_file -}}{{- end -}}
{{- if hasKey $chat "ca_file" -}}{{- $_ := set $summarize "chat_ca_file" $chat.ca_file -}}{{- end -}}
{{- $_ := set $chosen "summarize" $summarize -}}
{{- end -}}
{{- if .Values.backups.existingClaim -}}
{{- $_ := set $chosen "backup" (dict "folder" "/var/lib/kalends-backups") -}}
{{- end -}}
{{- if .Values.workloadIdentity.enabled -}}
{{- $_ := set $chosen "kubernetes" (dict "url" "https://kubernetes.default.svc") -}}
{{- end -}}
{{- mustMergeOverwrite $chosen (deepCopy .Values.settings) | toYaml -}}
{{- end -}}

{{- define "kalends.settings.log" -}}
{{- $name := include "kalends.fullname" . -}}
{{- $given := .Values.external.nats -}}
{{- $log := dict -}}
{{- if .Values.nats.enabled -}}
{{- $urls := list -}}
{{- range $number := until (int .Values.nats.replicas) -}}
{{- $scheme := ternary "tls" "nats" (ne $.Values.nats.tlsSecret "") -}}
{{- $urls = append $urls (printf "%s://%s-nats-%d.%s-nats-nodes.%s.svc:4222" $scheme $name $number $name $.Release.Namespace) -}}
{{- end -}}
{{- $log = dict "url" (join "," $urls) "user" "kalends" "password_file" "/run/kalends/nats/password" "replicas" (ternary 3 1 (ge (int .Values.nats.replicas) 3)) -}}
{{- if .Values.nats.tlsSecret -}}{{- $_ := set $log "ca_file" "/run/kalends/nats-ca/ca.crt" -}}{{- end -}}
{{- else -}}
{{- $log = dict "url" (required "nats.enabled is false: give external.nats.url, or settings.log.url" (default (dig "log" "url" "" .Values.settings) $given.url)) -}}
{{- with $given.user -}}{{- $_ := set $log "user" . -}}{{- end -}}
{{- include "kalends.settings.files" (dict "into" $log "secret" $given.existingSecret "at" "/run/kalends/nats" "keys" (dict "password_file" $given.passwordKey "ca_file" $given.caKey "certificate_file" $given.certKey "key_file" $given.keyKey)) -}}
{{- end -}}
{{- toYaml $log -}}
{{- end -}}

{{- define "kalends.settings.opensearch" -}}
{{- $name := include "kalends.fullname" . -}}
{{- $given := .Values.external.opensearch -}}
{{- $found := dict "urls" $given.urls -}}
{{- if .Values.opensearch.enabled -}}
{{- $urls := list -}}
{{- range $number := until (int .Values.opensearch.replicas) -}}
{{- $urls = append $urls (printf "http://%s-opensearch-%d.%s-opensearch-nodes.%s.svc:9200" $name $number $name $.Release.Namespace) -}}
{{- end -}}
{{- $found = dict "urls" (join "," $urls) "replicas" (ternary 1 0 (gt (int .Values.opensearch.replicas) 1)) -}}
{{- else if $given.urls -}}
{{- with $given.user -}}{{- $_ := set $found "user" . -}}{{- end -}}
{{- include "kalends.settings.files" (dict "into" $found "secret" $given.existingSecret "at" "/run/kalends/opensearch" "keys" (dict "password_file" $given.passwordKey "ca_file" $given.caKey "cert_file" $given.certKey "key_file" $given.keyKey)) -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}

{{- define "kalends.settings.qdrant" -}}
{{- $given := .Values.external.qdrant -}}
{{- $found := dict "url" $given.url -}}
{{- if .Values.qdrant.enabled -}}
{{- $found = dict "url" (printf "http://%s-qdrant.%s.svc:6334" (include "kalends.fullname" .) .Release.Namespace) "api_key_file" "/run/kalends/qdrant/api-key" "replicas" (min 3 (int .Values.qdrant.replicas)) -}}
{{- else if $given.url -}}
{{- include "kalends.settings.files" (dict "into" $found "secret" $given.existingSecret "at" "/run/kalends/qdrant" "keys" (dict "api_key_file" $given.apiKeyKey "ca_file" $given.caKey)) -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}

{{/* Servers of a model: the chart's, or external ones; nothing where the embedded model serves. Takes root and kind. */}}
{{- define "kalends.settings.model" -}}
{{- $given := index .root.Values.external.models .kind -}}
{{- $served := include "kalends.vllm" . | fromYaml -}}
{{- if $served.enabled -}}
{{- $path := ternary "/v1" "" (eq .kind "chat") -}}
{{- dict "urls" (printf "http://%s-%s.%s.svc:8000%s" (include "kalends.fullname" .root) .kind .root.Release.Namespace $path) "model" $served.model | toYaml -}}
{{- else if $given.urls -}}
{{- $found := dict "urls" $given.urls "model" $given.model -}}
{{- include "kalends.settings.files" (dict "into" $found "secret" $given.existingSecret "at" (printf "/run/kalends/%s" .kind) "keys" (dict "key_file" $given.keyKey "ca_file" $given.caKey)) -}}
{{- toYaml $found -}}
{{- end -}}
{{- end -}}

{{- define "kalends.vllm" -}}
{{- mustMergeOverwrite (deepCopy .root.Values.vllm.defaults) (deepCopy (index .root.Values.vllm .kind)) | toYaml -}}
{{- end -}}

{{/* Adds the paths of a mounted Secret's keys to a group. Takes into, secret, at and keys; prints nothing. */}}
{{- define "kalends.settings.files" -}}
{{- if .secret -}}
{{- range $field, $key := .keys -}}
{{- if $key -}}{{- $_ := set $.into $field (printf "%s/%s" $.at $key) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Settings as variables, one a line: KALENDS_GROUP__FIELD: "value". Takes a dictionary of groups. */}}
{{- define "kalends.variables" -}}
{{- range $group, $fields := . }}
{{- range $field, $value := $fields }}
{{ printf "KALENDS_%s__%s" (upper $group) (upper $field) }}: {{ ternary $value (toJson $value) (kindIs "string" $value) | quote }}
{{- end }}
{{- end }}
{{- end -}}
