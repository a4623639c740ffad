{{- define "tickcast.name" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{/* What every selector chooses by; a StatefulSet's cannot be changed later. */}}
{{- define "tickcast.selector" -}}
app.kubernetes.io/name: tickcast
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tickcast.labels" -}}
{{ include "tickcast.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "tickcast.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* A schema cannot look into the settings. */}}
{{- define "tickcast.settings" -}}
{{- $wanted := printf "(?m)^\\s*kind\\s*=\\s*[\"']%s[\"']" .Values.source -}}
{{- if not (regexMatch $wanted .Values.settings) -}}
{{- fail (printf "settings: [source] must say kind = \"%s\", as the value `source` does" .Values.source) -}}
{{- end -}}
{{ .Values.settings }}
{{- end -}}
