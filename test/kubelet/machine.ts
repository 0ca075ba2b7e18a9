// A node for the kubelet's tests: containerd with a small network plugin and a busybox image, in the namespaces that this
// process was started in (see kubelet.test.ts), and a kubelet on an API in memory.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect as dial } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../../src/k8s/client.ts';
import { createFakeClient, type FakeClient } from '../../src/k8s/fake-client.ts';
import type { Stored } from '../../src/k8s/object.ts';
import { events, pods } from '../../src/k8s/resources.ts';
import type { Container, Pod, PodSpec } from '../../src/k8s/types.generated.ts';
import { type Kubelet, startKubelet } from '../../src/kubelet/start.ts';
import { createLog } from '../../src/log/log.ts';
import { asIp } from '../../src/net/address.ts';
import { createCa, issue } from '../../src/pki/pki.ts';

export const image = 'weft.local/busybox:1';
export const nodeName = 'node-1';

export interface Machine {
  readonly client: FakeClient;
  readonly folder: string;
  kubelet: Kubelet;
  /** Stops the kubelet as if it were killed, and starts another one. */
  restartKubelet(): Promise<void>;
  /** Kills containerd with SIGKILL and starts it again. */
  restartContainerd(): Promise<void>;
  ctr(...args: string[]): string;
  stop(): Promise<void>;
}

export async function startMachine(folder: string): Promise<Machine> {
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']);
  const socket = join(folder, 'containerd.sock');
  writeConfig(folder, socket);
  let containerd = await startContainerd(folder, socket);
  const ctr = (...args: string[]): string =>
    execFileSync('ctr', ['--address', socket, '-n', 'k8s.io', ...args], { encoding: 'utf8' });
  ctr('images', 'import', makeImages(folder));

  const client = createFakeClient();
  client.answers.set('POST /api/v1/namespaces/default/serviceaccounts/default/token', () => ({
    status: { token: 'a-token', expirationTimestamp: new Date(Date.now() + 3_600_000).toISOString() },
  }));
  const ca = await createCa('test');
  const serving = {
    ...(await issue(ca, { commonName: 'system:node:node-1', usages: ['server'], dnsNames: ['localhost'] })),
    clientCa: ca.cert,
  };
  const restartContainerd = async (): Promise<void> => {
    await kill(containerd);
    containerd = await startContainerd(folder, socket);
  };
  const start = (): Promise<Kubelet> =>
    startKubelet({
      client: client as Client,
      nodeName,
      nodeAddresses: [asIp('10.99.0.1')],
      controlPlane: false,
      runtimeSocket: socket,
      rootDir: join(folder, 'kubelet'),
      podLogsDir: join(folder, 'pods'),
      clusterDns: [asIp('10.96.0.10')],
      clusterDomain: 'cluster.local',
      cgroupRoot: `/${process.env.WEFT_TEST_CGROUP}`,
      serving,
      port: 0,
      backOff: { initialMs: 300, maxMs: 2000 },
      restartRuntime: () => void restartContainerd(),
      log: createLog('kubelet'),
    });
  const machine: Machine = {
    client,
    folder,
    kubelet: await start(),
    async restartKubelet() {
      await machine.kubelet.stop();
      machine.kubelet = await start();
    },
    restartContainerd,
    ctr,
    async stop() {
      await machine.kubelet.stop();
      await client.close();
      await kill(containerd);
    },
  };
  return machine;
}

function writeConfig(folder: string, socket: string): void {
  for (const name of ['cni', 'net.d', 'root', 'state']) mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(
    join(folder, 'config.toml'),
    `version = 2
root = ${JSON.stringify(join(folder, 'root'))}
state = ${JSON.stringify(join(folder, 'state'))}
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = ${JSON.stringify(socket)}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = ${JSON.stringify('weft.local/pause:1')}
  restrict_oom_score_adj = true
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  enable_selinux = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = ${JSON.stringify(join(folder, 'cni'))}
    conf_dir = ${JSON.stringify(join(folder, 'net.d'))}
`,
  );
  writeFileSync(
    join(folder, 'net.d', '10-test.conflist'),
    JSON.stringify({ cniVersion: '0.4.0', name: 'test', plugins: [{ type: 'wt-ptp', state: folder }] }),
  );
  script(join(folder, 'cni', 'loopback'), loopbackPlugin);
  script(join(folder, 'cni', 'wt-ptp'), ptpPlugin.replaceAll('@STATE@', folder));
}

function script(path: string, text: string): void {
  writeFileSync(path, text);
  chmodSync(path, 0o755);
}

const loopbackPlugin = `#!/bin/sh
[ "$CNI_COMMAND" = ADD ] && nsenter --net="$CNI_NETNS" ip link set lo up
[ "$CNI_COMMAND" = VERSION ] && echo '{"cniVersion":"0.4.0","supportedVersions":["0.3.1","0.4.0"]}' && exit 0
echo '{"cniVersion":"0.4.0"}'
`;

/** One pair of interfaces for each pod, addresses counted up from 10.99.1.2. */
const ptpPlugin = `#!/bin/sh
set -e
cat >/dev/null
case "$CNI_COMMAND" in
VERSION) echo '{"cniVersion":"0.4.0","supportedVersions":["0.3.1","0.4.0"]}' ;;
ADD)
  n=$(flock @STATE@/lock sh -c 'n=$(cat @STATE@/count 2>/dev/null || echo 1); n=$((n+1)); echo $n >@STATE@/count; echo $n')
  ip link add wt$n type veth peer name eth0 netns "$CNI_NETNS"
  ip addr add 10.99.0.1/32 dev wt$n
  ip link set wt$n up
  ip route add 10.99.1.$n/32 dev wt$n src 10.99.0.1
  nsenter --net="$CNI_NETNS" sh -c "ip addr add 10.99.1.$n/32 dev eth0; ip link set eth0 up; ip route add 10.99.0.1/32 dev eth0; ip route add default via 10.99.0.1"
  echo "{\\"cniVersion\\":\\"0.4.0\\",\\"interfaces\\":[{\\"name\\":\\"eth0\\",\\"sandbox\\":\\"$CNI_NETNS\\"}],\\"ips\\":[{\\"version\\":\\"4\\",\\"address\\":\\"10.99.1.$n/32\\",\\"interface\\":0}]}"
  ;;
DEL) [ -n "$CNI_NETNS" ] && nsenter --net="$CNI_NETNS" ip link del eth0 2>/dev/null || true ;;
esac
`;

async function startContainerd(folder: string, socket: string): Promise<ChildProcess> {
  const child = spawn('containerd', ['--config', join(folder, 'config.toml'), '--log-level', 'warn'], {
    stdio: ['ignore', 'ignore', process.env.WEFT_TEST_VERBOSE ? 'inherit' : 'ignore'],
  });
  for (let attempt = 0; attempt < 200; attempt++) {
    if (await answers(socket)) return child;
    await sleep(25);
  }
  throw new Error('containerd does not answer');
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = dial(socket);
    connection.on('connect', () => {
      connection.destroy();
      resolve(true);
    });
    connection.on('error', () => resolve(false));
  });
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

/** An archive in Docker's form with busybox, and with a pause image of the same files. */
function makeImages(folder: string): string {
  const root = join(folder, 'rootfs');
  for (const name of ['bin', 'tmp', 'etc']) mkdirSync(join(root, name), { recursive: true });
  cpSync('/bin/busybox', join(root, 'bin', 'busybox'));
  for (const command of execFileSync('/bin/busybox', ['--list'], { encoding: 'utf8' }).trim().split('\n'))
    if (command !== 'busybox') symlinkSync('busybox', join(root, 'bin', command));
  writeFileSync(join(root, 'etc', 'passwd'), 'root:x:0:0:root:/:/bin/sh\n');
  const archive = join(folder, 'archive');
  mkdirSync(archive);
  execFileSync('tar', ['-C', root, '-cf', join(archive, 'layer.tar'), '.']);
  const digest = execFileSync('sha256sum', [join(archive, 'layer.tar')], { encoding: 'utf8' }).split(' ')[0];
  const config = (cmd: string[]) =>
    JSON.stringify({
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      config: { Cmd: cmd, Env: ['PATH=/bin'] },
      rootfs: { type: 'layers', diff_ids: [`sha256:${digest}`] },
    });
  writeFileSync(join(archive, 'busybox.json'), config(['sh']));
  writeFileSync(join(archive, 'pause.json'), config(['sleep', '2147483647']));
  writeFileSync(
    join(archive, 'manifest.json'),
    JSON.stringify([
      { Config: 'busybox.json', RepoTags: [image], Layers: ['layer.tar'] },
      { Config: 'pause.json', RepoTags: ['weft.local/pause:1'], Layers: ['layer.tar'] },
    ]),
  );
  execFileSync('tar', ['-C', archive, '-cf', join(folder, 'images.tar'), '.']);
  return join(folder, 'images.tar');
}

/** A pod bound to the node, as the scheduler leaves it. */
export function podNamed(name: string, spec: Partial<PodSpec> & { containers: Container[] }): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels: { app: name } },
    spec: {
      nodeName,
      restartPolicy: 'Always',
      terminationGracePeriodSeconds: 1,
      dnsPolicy: 'ClusterFirst',
      serviceAccountName: 'default',
      ...spec,
    },
    status: { phase: 'Pending' },
  };
}

export function shell(name: string, script: string, more: Partial<Container> = {}): Container {
  return { name, image, imagePullPolicy: 'IfNotPresent', command: ['sh', '-c', script], ...more };
}

/** Waits until the pod is as wanted; fails with its last status after the time. */
export async function podWhen(
  client: Client,
  name: string,
  wanted: (pod: Stored<Pod>) => boolean,
  timeoutMs = 20_000,
): Promise<Stored<Pod>> {
  const { items, resourceVersion } = await client.list(pods, {
    namespace: 'default',
    fieldSelector: `metadata.name=${name}`,
  });
  const signal = AbortSignal.timeout(timeoutMs);
  let last = items[0];
  if (last !== undefined && wanted(last)) return last;
  const selection = { namespace: 'default', fieldSelector: `metadata.name=${name}` };
  for await (const event of client.watch(pods, { ...selection, resourceVersion, signal })) {
    if (event.type === 'BOOKMARK') continue;
    last = event.object;
    if (wanted(last)) return last;
  }
  throw new Error(`pod ${name} did not become as wanted: ${JSON.stringify(last?.status, null, 1)}`);
}

export async function podGone(client: Client, name: string, timeoutMs = 20_000): Promise<void> {
  const until = Date.now() + timeoutMs;
  while (Date.now() < until) {
    const { items } = await client.list(pods, { namespace: 'default', fieldSelector: `metadata.name=${name}` });
    if (items.length === 0) return;
    await sleep(20);
  }
  throw new Error(`pod ${name} is still there`);
}

export const condition = (pod: Pod, type: string): string | undefined =>
  pod.status?.conditions?.find((item) => item.type === type)?.status;

export const isReady = (pod: Pod): boolean => condition(pod, 'Ready') === 'True';

/** The reasons and messages of a pod's events. */
export async function eventsOf(client: Client, pod: Pod): Promise<string[]> {
  const { items } = await client.list(events, { namespace: 'default' });
  return items
    .filter(({ involvedObject }) => involvedObject.uid === pod.metadata.uid)
    .map(({ reason, message }) => `${reason}: ${message}`);
}
