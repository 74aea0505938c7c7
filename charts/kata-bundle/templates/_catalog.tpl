{{- /* Written by kata-bundle generate chart: change the manifests or the generator, not this file. */ -}}
{{- define "kata.catalog" -}}
{
  "clh": {
    "cpu": "250m",
    "discoveryResources": {},
    "discoverySelector": {},
    "memory": "130Mi"
  },
  "clh-azure": {
    "cpu": "250m",
    "discoveryResources": {},
    "discoverySelector": {},
    "memory": "130Mi"
  },
  "clh-azure-runtime-rs": {
    "cpu": "250m",
    "discoveryResources": {},
    "discoverySelector": {},
    "memory": "130Mi"
  },
  "clh-runtime-rs": {
    "cpu": "250m",
    "discoveryResources": {},
    "discoverySelector": {},
    "memory": "130Mi"
  },
  "dragonball": {
    "cpu": "250m",
    "discoveryResources": {},
    "discoverySelector": {},
    "memory": "130Mi"
  },
  "fc": {
    "cpu": "250m",
    "discoveryResources": {},
    "discoverySelector": {},
    "memory": "130Mi"
  },
  "openvmm-azure-runtime-rs": {
    "cpu": "250m",
    "discoveryResources": {},
    "discoverySelector": {},
    "memory": "130Mi"
  },
  "qemu": {
    "cpu": "250m",
    "discoveryResources": {},
    "discoverySelector": {},
    "memory": "320Mi"
  },
  "qemu-coco-dev": {
    "cpu": "250m",
    "discoveryResources": {},
    "discoverySelector": {},
    "memory": "160Mi"
  },
  "qemu-coco-dev-runtime-rs": {
    "cpu": "250m",
    "discoveryResources": {},
    "discoverySelector": {},
    "memory": "320Mi"
  },
  "qemu-nvidia-cpu": {
    "cpu": "250m",
    "discoveryResources": {},
    "discoverySelector": {},
    "memory": "320Mi"
  },
  "qemu-nvidia-cpu-runtime-rs": {
    "cpu": "250m",
    "discoveryResources": {},
    "discoverySelector": {},
    "memory": "320Mi"
  },
  "qemu-nvidia-gpu": {
    "cpu": "1.0",
    "discoveryResources": {},
    "discoverySelector": {},
    "memory": "10240Mi"
  },
  "qemu-nvidia-gpu-runtime-rs": {
    "cpu": "1.0",
    "discoveryResources": {},
    "discoverySelector": {},
    "memory": "10240Mi"
  },
  "qemu-nvidia-gpu-snp": {
    "cpu": "1.0",
    "discoveryResources": {
      "sev-snp.amd.com/esids": "1"
    },
    "discoverySelector": {},
    "memory": "10240Mi"
  },
  "qemu-nvidia-gpu-snp-runtime-rs": {
    "cpu": "1.0",
    "discoveryResources": {
      "sev-snp.amd.com/esids": "1"
    },
    "discoverySelector": {},
    "memory": "10240Mi"
  },
  "qemu-nvidia-gpu-tdx": {
    "cpu": "1.0",
    "discoveryResources": {
      "tdx.intel.com/keys": "1"
    },
    "discoverySelector": {},
    "memory": "10240Mi"
  },
  "qemu-nvidia-gpu-tdx-runtime-rs": {
    "cpu": "1.0",
    "discoveryResources": {
      "tdx.intel.com/keys": "1"
    },
    "discoverySelector": {},
    "memory": "10240Mi"
  },
  "qemu-runtime-rs": {
    "cpu": "250m",
    "discoveryResources": {},
    "discoverySelector": {},
    "memory": "320Mi"
  },
  "qemu-se": {
    "cpu": "1.0",
    "discoveryResources": {},
    "discoverySelector": {
      "feature.node.kubernetes.io/cpu-security.se.enabled": "true"
    },
    "memory": "1024Mi"
  },
  "qemu-se-runtime-rs": {
    "cpu": "1.0",
    "discoveryResources": {},
    "discoverySelector": {
      "feature.node.kubernetes.io/cpu-security.se.enabled": "true"
    },
    "memory": "1024Mi"
  },
  "qemu-snp": {
    "cpu": "1.0",
    "discoveryResources": {
      "sev-snp.amd.com/esids": "1"
    },
    "discoverySelector": {
      "amd.feature.node.kubernetes.io/snp": "true"
    },
    "memory": "2048Mi"
  },
  "qemu-snp-runtime-rs": {
    "cpu": "1.0",
    "discoveryResources": {
      "sev-snp.amd.com/esids": "1"
    },
    "discoverySelector": {
      "amd.feature.node.kubernetes.io/snp": "true"
    },
    "memory": "2048Mi"
  },
  "qemu-tdx": {
    "cpu": "1.0",
    "discoveryResources": {
      "tdx.intel.com/keys": "1"
    },
    "discoverySelector": {
      "intel.feature.node.kubernetes.io/tdx": "true"
    },
    "memory": "2048Mi"
  },
  "qemu-tdx-runtime-rs": {
    "cpu": "1.0",
    "discoveryResources": {
      "tdx.intel.com/keys": "1"
    },
    "discoverySelector": {
      "intel.feature.node.kubernetes.io/tdx": "true"
    },
    "memory": "2048Mi"
  },
  "remote": {
    "cpu": "250m",
    "discoveryResources": {},
    "discoverySelector": {},
    "memory": "120Mi"
  }
}
{{- end -}}
