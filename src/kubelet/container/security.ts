// Security contexts of pods and containers as CRI takes them. Pure. Rules: kubernetes
// pkg/kubelet/kuberuntime/security_context.go and pkg/securitycontext.
import type { Container, Pod, SeccompProfile } from '../../k8s/types.generated.ts';
import type { Message, Request } from '../cri/protocol.ts';
import { ConfigError } from './env.ts';

/** What is hidden of /proc and /sys in a container that is not privileged. */
const maskedPaths = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];
const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/** Which namespaces a pod shares with its node. */
function namespaceOptions(pod: Pod): Request<'NamespaceOption'> {
  const { hostNetwork, hostPID, hostIPC, shareProcessNamespace } = pod.spec;
  return {
    network: hostNetwork === true ? 'NODE' : 'POD',
    ipc: hostIPC === true ? 'NODE' : 'POD',
    pid: hostPID === true ? 'NODE' : shareProcessNamespace === true ? 'POD' : 'CONTAINER',
  };
}

export function sandboxSecurity(pod: Pod): Request<'LinuxSandboxSecurityContext'> {
  const context = pod.spec.securityContext ?? {};
  const privileged = [...(pod.spec.initContainers ?? []), ...pod.spec.containers].some(
    ({ securityContext }) => securityContext?.privileged === true,
  );
  return {
    namespaceOptions: namespaceOptions(pod),
    privileged,
    seccomp: privileged ? { profileType: 'Unconfined' } : { profileType: 'RuntimeDefault' },
    supplementalGroups: supplementalGroups(pod),
    ...(context.runAsUser === undefined ? {} : { runAsUser: { value: context.runAsUser } }),
    ...(context.runAsUser === undefined || context.runAsGroup === undefined
      ? {}
      : { runAsGroup: { value: context.runAsGroup } }),
  };
}

function supplementalGroups(pod: Pod): number[] {
  const { fsGroup, supplementalGroups: groups = [] } = pod.spec.securityContext ?? {};
  return fsGroup === undefined ? [...groups] : [...groups, fsGroup];
}

/** The user that an image names. */
export type ImageUser = Pick<Message<'Image'>, 'uid' | 'username'>;

/** The security context of a container; throws a ConfigError where it must not run as root and would. */
export function containerSecurity(
  pod: Pod,
  container: Container,
  image: ImageUser,
  targetId?: string,
): Request<'LinuxContainerSecurityContext'> {
  const own = container.securityContext ?? {};
  const shared = pod.spec.securityContext ?? {};
  const user = own.runAsUser ?? shared.runAsUser;
  const group = own.runAsGroup ?? shared.runAsGroup;
  const privileged = own.privileged === true;
  if ((own.runAsNonRoot ?? shared.runAsNonRoot) === true) checkNonRoot(container, user, image);
  const uid = user ?? image.uid?.value;
  const unmasked = own.procMount === 'Unmasked' || privileged;
  const namespaces = namespaceOptions(pod);
  const escalates = own.allowPrivilegeEscalation !== false;
  return {
    privileged,
    namespaceOptions: targetId === undefined ? namespaces : { ...namespaces, pid: 'TARGET', targetId },
    readonlyRootfs: own.readOnlyRootFilesystem === true,
    noNewPrivs: !escalates,
    supplementalGroups: supplementalGroups(pod),
    capabilities: {
      addCapabilities: own.capabilities?.add ?? [],
      dropCapabilities: own.capabilities?.drop ?? [],
    },
    seccomp: seccomp(own.seccompProfile ?? shared.seccompProfile, privileged),
    maskedPaths: unmasked ? [] : maskedPaths,
    readonlyPaths: unmasked ? [] : readonlyPaths,
    ...(uid !== undefined
      ? { runAsUser: { value: uid } }
      : image.username !== ''
        ? { runAsUsername: image.username }
        : {}),
    ...(group === undefined ? {} : { runAsGroup: { value: group } }),
  };
}

function checkNonRoot(container: Container, user: number | undefined, image: ImageUser): void {
  if (user !== undefined) {
    if (user === 0)
      throw new ConfigError(`container's runAsUser breaks non-root policy (container: ${container.name})`);
    return;
  }
  if (image.username !== '')
    throw new ConfigError(
      `container has runAsNonRoot and image has non-numeric user (${image.username}), cannot verify user is non-root (container: ${container.name})`,
    );
  if (image.uid === null || image.uid.value === 0)
    throw new ConfigError(`container has runAsNonRoot and image will run as root (container: ${container.name})`);
}

function seccomp(profile: SeccompProfile | undefined, privileged: boolean): Request<'SecurityProfile'> {
  if (privileged || profile === undefined || profile.type === 'Unconfined') return { profileType: 'Unconfined' };
  if (profile.type === 'RuntimeDefault') return { profileType: 'RuntimeDefault' };
  throw new ConfigError(
    `seccomp profiles of the type ${profile.type} are not offered; use RuntimeDefault or Unconfined`,
  );
}

/** Sysctls that every pod may set, as they are namespaced (kubernetes pkg/kubelet/sysctl/safe_sysctls.go). */
const safeSysctls = new Set([
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.ping_group_range',
  'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
  'net.ipv4.tcp_rmem',
  'net.ipv4.tcp_wmem',
]);

/** Why a pod may not run here because of its sysctls; undefined where it may. */
export function forbiddenSysctl(pod: Pod): string | undefined {
  for (const { name: written } of pod.spec.securityContext?.sysctls ?? []) {
    const name = written.replaceAll('/', '.');
    if (!safeSysctls.has(name)) return `forbidden sysctl: "${name}" not allowlisted`;
    if (pod.spec.hostNetwork === true && name.startsWith('net.'))
      return `forbidden sysctl: "${name}" not allowed with host net enabled`;
    if (pod.spec.hostIPC === true && name.startsWith('kernel.shm'))
      return `forbidden sysctl: "${name}" not allowed with host ipc enabled`;
  }
  return undefined;
}

export function sysctls(pod: Pod): Record<string, string> {
  const list = pod.spec.securityContext?.sysctls ?? [];
  return Object.fromEntries(list.map(({ name, value }) => [name.replaceAll('/', '.'), value]));
}
