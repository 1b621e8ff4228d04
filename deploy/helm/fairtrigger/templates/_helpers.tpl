{{- /* Name of everything that a release makes: its own, with the chart's unless that is in it. */ -}}
{{- define "fairtrigger.name" -}}
{{- ternary .Release.Name (printf "%s-fairtrigger" .Release.Name) (contains "fairtrigger" .Release.Name) | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "fairtrigger.labels" -}}
app.kubernetes.io/name: fairtrigger
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: service
{{- end }}

{{- define "fairtrigger.trainerLabels" -}}
app.kubernetes.io/name: fairtrigger-trainer
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "fairtrigger.image" -}}
{{- $image := index . 0 }}{{ $root := index . 1 -}}
{{ $image.repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default $root.Chart.AppVersion $image.tag }}{{ end }}
{{- end }}

{{- /* Whether the store is Redis, which pods may share; an empty text is false. */ -}}
{{- define "fairtrigger.redis" -}}
{{- if not (hasPrefix "/" .Values.store) }}true{{ end }}
{{- end }}

{{- define "fairtrigger.claim" -}}
{{- $kind := index . 0 }}{{ $root := index . 1 -}}
{{ default (printf "%s-%s" (include "fairtrigger.name" $root) $kind) (index $root.Values.volumes $kind).existingClaim }}
{{- end }}

{{- define "fairtrigger.trainerStore" -}}
{{- default .Values.store .Values.trainer.store }}
{{- end }}

{{- /* Neither root nor any capability, and nothing written but the volumes. */ -}}
{{- define "fairtrigger.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "fairtrigger.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "fairtrigger.dns" -}}
- to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
      podSelector: {matchLabels: {k8s-app: kube-dns}}
  ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
{{- end }}

{{- /* What cannot be: said in a line, before anything is changed. */ -}}
{{- define "fairtrigger.check" -}}
{{- $several := or (gt (int .Values.replicas) 1) .Values.autoscaling.enabled }}
{{- if and $several (not (include "fairtrigger.redis" .)) }}
{{- fail "Several replicas need a store that they share: set `store` to the address of a Redis (redis://...)." }}
{{- end }}
{{- if and .Values.trainer.enabled (not .Values.trainer.run) }}
{{- fail "trainer.enabled needs a configuration: --set-file trainer.run=run.toml (python -m trainer --example writes one)." }}
{{- end }}
{{- if and .Values.trainer.enabled (include "fairtrigger.redis" .) (not .Values.trainer.store) }}
{{- fail "The service's Redis user may not publish: set trainer.store to redis://trainer@... with the trainer's password_file." }}
{{- end }}
{{- end }}
