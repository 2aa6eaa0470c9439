{{- define "ragfleet.name" -}}
{{- /* Pods of a StatefulSet carry its name and a hash of ten letters in a label, which has 63 at the most. */ -}}
{{ printf "%s-%s" (.Release.Name | trunc 44 | trimSuffix "-") .part }}
{{- end }}

{{- define "ragfleet.selector" -}}
app.kubernetes.io/name: ragfleet
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "ragfleet.labels" -}}
{{ include "ragfleet.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | trimAll "-_." | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "ragfleet.image" -}}
{{- $named := printf "%sragfleet-%s" .Values.image.registry .image }}
{{- with get .Values.image.digests .image }}{{ $named }}@{{ . }}
{{- else }}{{ $named }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "ragfleet.milvus" -}}
{{- if .Values.milvusAddress }}{{ .Values.milvusAddress }}
{{- else if .Values.milvus.enabled }}http://{{ .Release.Name }}-milvus:19530
{{- else }}{{ fail "milvusAddress is empty and milvus.enabled is false: name a Milvus" }}
{{- end }}
{{- end }}

{{- /* Both images run as user 10001 on a read-only root. */ -}}
{{- define "ragfleet.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "ragfleet.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- /* The agent of this pod's node. */ -}}
{{- define "ragfleet.consulEnv" -}}
- name: HOST_IP
  valueFrom: { fieldRef: { fieldPath: status.hostIP } }
- name: RAGFLEET_CONSUL_URL
  value: http://$(HOST_IP):{{ .Values.consulAgent.port }}
{{- end }}

{{- /* own: the chart's variables as YAML; more: those of the values, which take the place of one of the same name. */ -}}
{{- define "ragfleet.env" -}}
{{- $more := .more | default dict }}
{{- range .own | fromYamlArray }}
{{- if not (or (hasKey $more .name) (hasKey $more (trimSuffix "_FILE" .name))) }}
- {{ toJson . }}
{{- end }}
{{- end }}
{{- range $name, $value := $more }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  {{- toYaml $value | nindent 2 }}
  {{- else }}
  value: {{ include "ragfleet.text" $value | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* Helm reads whole numbers as floats: 1000000 must not become 1e+06. */ -}}
{{- define "ragfleet.text" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) }}{{ int64 . }}{{ else if not (kindIs "invalid" .) }}{{ . }}{{ end }}
{{- end }}

{{- /* A volume of another kind takes the place of the claim that values.yaml names: Helm would have both. */ -}}
{{- define "ragfleet.engines" -}}
{{- $volume := .Values.model.volume }}
{{- if gt (len $volume) 1 }}{{ $volume = omit $volume "persistentVolumeClaim" }}{{ end }}
{{- toYaml $volume }}
{{- end }}

{{- /* One file for each of these keys of the Secret. */ -}}
{{- define "ragfleet.secretVolume" -}}
- name: secrets
  secret:
    secretName: {{ .Values.secrets.name }}
    defaultMode: 0440
    items:
      {{- range .keys }}
      - { key: {{ . }}, path: {{ . }} }
      {{- end }}
{{- end }}
