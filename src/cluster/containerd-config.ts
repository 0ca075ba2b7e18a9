// The files that a node is born with: containerd's configuration, hosts, host name, resolver. Pure.
// No text of a user goes into them: names of clusters are checked, everything else is fixed.
import type { ClusterLayout, NodeLayout } from './layout.ts';

/** Where each agent listens for its containerd, and passes on to the image gateway of the cluster. */
export const registryPort = 5000;
export const proxyPort = 5001;

export const containerdConfigPath = '/etc/containerd/config.toml';
export const containerdSocket = '/run/containerd/containerd.sock';
export const pauseImage = 'weft.local/pause:1';

/** Plugins that no pod needs; each costs start-up time and memory. */
const disabled = [
  'io.containerd.grpc.v1.tasks-checkpoint',
  'io.containerd.internal.v1.tracing',
  'io.containerd.snapshotter.v1.aufs',
  'io.containerd.snapshotter.v1.blockfile',
  'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.native',
  'io.containerd.snapshotter.v1.zfs',
  'io.containerd.tracing.processor.v1.otlp',
];

const containerdConfig = `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [${disabled.map((plugin) => `"${plugin}"`).join(', ')}]

[grpc]
  address = "${containerdSocket}"

[ttrpc]
  address = "${containerdSocket}.ttrpc"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pauseImage}"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  disable_tcp_service = true
  enable_selinux = false
  # A machine without CAP_SYS_RESOURCE may not lower the score below its own.
  restrict_oom_score_adj = true
  max_concurrent_downloads = 3

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    discard_unpacked_layers = true

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
`;

/** Every registry is asked through the image gateway first; a registry that has more answers through the proxy. */
const registryHosts = `[host."http://127.0.0.1:${registryPort}"]
  capabilities = ["pull", "resolve"]
`;

/** What containerd's environment says about the way to outside registries. */
export const containerdEnvironment: Readonly<Record<string, string>> = {
  HTTP_PROXY: `http://127.0.0.1:${proxyPort}`,
  HTTPS_PROXY: `http://127.0.0.1:${proxyPort}`,
  NO_PROXY: '127.0.0.1',
};

/**
 * containerd calls a plugin of this name for every pod before it knows the network's own, whose work includes `lo`
 * already: nothing is left to do but to answer.
 */
const loopbackPlugin = `#!/bin/sh
case "$CNI_COMMAND" in
  ADD) echo '{"cniVersion":"0.3.1","interfaces":[{"name":"lo","sandbox":""}],"ips":[],"dns":{}}' ;;
  VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["0.3.0","0.3.1","0.4.0","1.0.0"]}' ;;
esac
`;

export interface NodeFile {
  /** Inside of the node. */
  readonly path: string;
  readonly text: string;
  readonly executable?: boolean;
}

/** The files of a node. */
export function nodeFiles(layout: ClusterLayout, node: NodeLayout): NodeFile[] {
  const hosts = [
    '127.0.0.1 localhost',
    '::1 localhost ip6-localhost ip6-loopback',
    ...layout.nodes.flatMap(({ addresses, name }) => addresses.map((address) => `${address} ${name}`)),
  ];
  return [
    { path: containerdConfigPath, text: containerdConfig },
    { path: '/etc/containerd/certs.d/_default/hosts.toml', text: registryHosts },
    { path: '/opt/cni/bin/loopback', text: loopbackPlugin, executable: true },
    { path: '/etc/hosts', text: `${hosts.join('\n')}\n` },
    { path: '/etc/hostname', text: `${node.name}\n` },
    { path: '/etc/resolv.conf', text: '# A node has no resolver for outside names.\n' },
  ];
}
