// Defaults of pods and pod templates (upstream pkg/apis/core/v1/defaults.go).
import type { Fields } from '../node.ts';
import { child, part, parts, preset, presetZero } from './set.ts';

/** Default permission bits of files in volumes: 0644. */
const fileMode = 0o644;

export function defaultPod(pod: Fields): void {
  const spec = child(pod, 'spec');
  defaultPodSpec(spec);
  for (const container of [...parts(spec, 'containers'), ...parts(spec, 'initContainers')]) {
    requestWhatIsLimited(container);
    if (spec.hostNetwork === true) {
      for (const port of parts(container, 'ports')) presetZero(port, 'hostPort', port.containerPort);
    }
  }
  preset(spec, 'enableServiceLinks', true);
}

export function defaultPodTemplate(owner: Fields): void {
  const template = child(owner, 'template');
  child(template, 'metadata');
  defaultPodSpec(child(template, 'spec'));
}

function defaultPodSpec(spec: Fields): void {
  presetZero(spec, 'dnsPolicy', 'ClusterFirst');
  presetZero(spec, 'restartPolicy', 'Always');
  child(spec, 'securityContext');
  preset(spec, 'terminationGracePeriodSeconds', 30);
  presetZero(spec, 'schedulerName', 'default-scheduler');
  // serviceAccount is the old name of serviceAccountName; both are always shown.
  if (spec.serviceAccountName) spec.serviceAccount = spec.serviceAccountName;
  else if (spec.serviceAccount) spec.serviceAccountName = spec.serviceAccount;
  for (const volume of parts(spec, 'volumes')) defaultVolume(volume);
  for (const kind of ['containers', 'initContainers', 'ephemeralContainers']) {
    for (const container of parts(spec, kind)) defaultContainer(container);
  }
}

function defaultContainer(container: Fields): void {
  presetZero(container, 'imagePullPolicy', pullPolicyFor(typeof container.image === 'string' ? container.image : ''));
  presetZero(container, 'terminationMessagePath', '/dev/termination-log');
  presetZero(container, 'terminationMessagePolicy', 'File');
  child(container, 'resources');
  for (const port of parts(container, 'ports')) presetZero(port, 'protocol', 'TCP');
  for (const variable of parts(container, 'env')) {
    const field = part(part(variable, 'valueFrom') ?? {}, 'fieldRef');
    if (field) presetZero(field, 'apiVersion', 'v1');
  }
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe']) {
    const probe = part(container, name);
    if (probe) defaultProbe(probe);
  }
  for (const hook of ['postStart', 'preStop']) {
    const http = part(part(part(container, 'lifecycle') ?? {}, hook) ?? {}, 'httpGet');
    if (http) defaultHttpGet(http);
  }
}

/** `Always` for the tag latest, given or meant; `IfNotPresent` for another tag or a digest. */
function pullPolicyFor(image: string): string {
  if (image === '' || image.includes('@')) return 'IfNotPresent';
  const tag = /:([\w.-]+)$/.exec(image)?.[1];
  return tag === undefined || tag === 'latest' ? 'Always' : 'IfNotPresent';
}

function defaultProbe(probe: Fields): void {
  presetZero(probe, 'timeoutSeconds', 1);
  presetZero(probe, 'periodSeconds', 10);
  presetZero(probe, 'successThreshold', 1);
  presetZero(probe, 'failureThreshold', 3);
  const http = part(probe, 'httpGet');
  if (http) defaultHttpGet(http);
  const grpc = part(probe, 'grpc');
  if (grpc) preset(grpc, 'service', '');
}

function defaultHttpGet(http: Fields): void {
  presetZero(http, 'path', '/');
  presetZero(http, 'scheme', 'HTTP');
}

function defaultVolume(volume: Fields): void {
  if (Object.keys(volume).every((field) => field === 'name')) volume.emptyDir = {};
  for (const source of ['secret', 'configMap', 'downwardAPI', 'projected']) {
    const files = part(volume, source);
    if (files) preset(files, 'defaultMode', fileMode);
  }
  const hostPath = part(volume, 'hostPath');
  if (hostPath) preset(hostPath, 'type', '');
  const image = part(volume, 'image');
  if (image && typeof image.reference === 'string') presetZero(image, 'pullPolicy', pullPolicyFor(image.reference));
  const projections = parts(part(volume, 'projected') ?? {}, 'sources');
  for (const { serviceAccountToken } of projections) {
    if (serviceAccountToken) preset(serviceAccountToken as Fields, 'expirationSeconds', 3600);
  }
  for (const downward of [volume, ...projections].map((source) => part(source, 'downwardAPI') ?? {})) {
    for (const item of parts(downward, 'items')) {
      const field = part(item, 'fieldRef');
      if (field) presetZero(field, 'apiVersion', 'v1');
    }
  }
}

function requestWhatIsLimited(container: Fields): void {
  const resources = child(container, 'resources');
  const limits = part(resources, 'limits');
  if (!limits || Object.keys(limits).length === 0) return;
  const requests = child(resources, 'requests');
  for (const [name, limit] of Object.entries(limits)) preset(requests, name, limit);
}
