{{- /* The Jobs of deploymentMode job. Per-node pods hold no token; only the dispatcher speaks to the API. */ -}}

{{- define "kata.stage" -}}
name: {{ .stage }}
image: {{ include "kata.image" .top | quote }}
imagePullPolicy: {{ .top.Values.imagePullPolicy }}
command: [kata-deploy]
args: [{{ with include "kata.logLevel" .top }}--log-level, {{ . }}, {{ end }}{{ .stage }}]
env:
  {{- include "kata.environment" .top | nindent 2 }}
{{- with .top.Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "kata.security" .top | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  {{- include "kata.volumeMounts" .top | nindent 2 }}
{{- end -}}

{{- /* The Job of one node, everything but the node: "init" stages, then the stage "main". */ -}}
{{- define "kata.nodeJob" -}}
{{- $top := .top -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: node
  namespace: {{ $top.Release.Namespace }}
  labels:
    {{- include "kata.labels" $top | nindent 4 }}
spec:
  backoffLimit: {{ int $top.Values.job.backoffLimit }}
  activeDeadlineSeconds: {{ int $top.Values.job.activeDeadlineSeconds }}
  ttlSecondsAfterFinished: {{ int $top.Values.job.ttlSecondsAfterFinished }}
  template:
    metadata:
      labels:
        {{- include "kata.podLabels" $top | fromJson | toYaml | nindent 8 }}
      annotations:
        {{- include "kata.annotations" $top | fromJson | toYaml | nindent 8 }}
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      {{- with $top.Values.priorityClassName }}
      priorityClassName: {{ . | quote }}
      {{- end }}
      {{- with $top.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $top.Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      initContainers:
        {{- range .init }}
        -
          {{- include "kata.stage" (dict "top" $top "stage" .) | nindent 10 }}
        {{- end }}
      containers:
        -
          {{- include "kata.stage" (dict "top" $top "stage" .main) | nindent 10 }}
      volumes:
        {{- include "kata.volumes" $top | nindent 8 }}
{{- end -}}

{{- /* A dispatcher: "name", "hooks", "deadline", "arguments". */ -}}
{{- define "kata.dispatcher" -}}
{{- $top := .top -}}
{{- $ending := include "kata.ending" $top -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .name }}
  namespace: {{ $top.Release.Namespace }}
  labels:
    {{- include "kata.labels" $top | nindent 4 }}
  annotations:
    helm.sh/hook: {{ .hooks }}
    helm.sh/hook-weight: "0"
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  backoffLimit: 2
  template:
    metadata:
      labels:
        app.kubernetes.io/component: dispatcher
        {{- include "kata.labels" $top | nindent 8 }}
    spec:
      restartPolicy: Never
      serviceAccountName: kata-deploy-dispatcher{{ $ending }}
      {{- with $top.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $top.Values.job.dispatcherNodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $top.Values.job.dispatcherTolerations | default $top.Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: dispatcher
          image: {{ include "kata.dispatcherImage" $top | quote }}
          imagePullPolicy: {{ $top.Values.imagePullPolicy }}
          command: [kata-bundle]
          args:
            - node
            - dispatch
            {{- range .arguments }}
            - {{ . | quote }}
            {{- end }}
          env:
            - name: JOB_NAME
              value: {{ .name | quote }}
            - name: JOB_UID
              valueFrom:
                fieldRef:
                  fieldPath: metadata.labels['controller-uid']
          securityContext:
            {{- include "kata.apiOnlySecurity" $top | nindent 12 }}
          volumeMounts:
            - {name: jobs, mountPath: /jobs, readOnly: true}
            - {name: tmp, mountPath: /tmp}
      volumes:
        - name: tmp
          emptyDir: {}
        - name: jobs
          configMap:
            name: kata-deploy-jobs{{ $ending }}
{{- end -}}

{{- /* A job that only speaks to the API: "name", "account", "hooks", "weight", "deadline", "arguments". */ -}}
{{- define "kata.apiJob" -}}
{{- $top := .top -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .name }}
  namespace: {{ $top.Release.Namespace }}
  labels:
    {{- include "kata.labels" $top | nindent 4 }}
  annotations:
    helm.sh/hook: {{ .hooks }}
    helm.sh/hook-weight: {{ .weight | quote }}
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  backoffLimit: 3
  activeDeadlineSeconds: {{ .deadline }}
  template:
    metadata:
      labels:
        {{- include "kata.labels" $top | nindent 8 }}
    spec:
      restartPolicy: Never
      serviceAccountName: {{ .account }}
      {{- with $top.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $top.Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: work
          image: {{ include "kata.image" $top | quote }}
          imagePullPolicy: {{ $top.Values.imagePullPolicy }}
          command: [kata-bundle]
          args:
            {{- range .arguments }}
            - {{ . | quote }}
            {{- end }}
          securityContext:
            {{- include "kata.apiOnlySecurity" $top | nindent 12 }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
      volumes:
        - name: tmp
          emptyDir: {}
{{- end -}}
