// A control plane in this process, with nodes that run nothing but report as kubelets do; for tests of the controllers.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { startApiServer } from '../../src/apiserver/server.ts';
import { startControllers } from '../../src/controllers/start.ts';
import type { Cache, Change, Client } from '../../src/k8s/client.ts';
import { isConflict, isNotFound } from '../../src/k8s/client.ts';
import { formatTime } from '../../src/k8s/conditions.ts';
import { connect } from '../../src/k8s/connect.ts';
import type { KubeObject, Stored } from '../../src/k8s/object.ts';
import { nodes, pods } from '../../src/k8s/resources.ts';
import type { Node, Pod } from '../../src/k8s/types.generated.ts';
import { asCidr, asIp } from '../../src/net/address.ts';
import { createCa, createSigningKey, issue } from '../../src/pki/pki.ts';
import { startScheduler } from '../../src/scheduler/start.ts';

export interface TestCluster {
  readonly client: Client;
  addNode(name: string, more?: Partial<Node>): Promise<void>;
  stop(): Promise<void>;
}

const log = pino({ level: process.env.WEFT_LOG ?? 'silent' }, pino.destination(2));

export async function startTestCluster(nodeNames: readonly string[]): Promise<TestCluster> {
  const folder = await mkdtemp(join(tmpdir(), 'wt-'));
  const ca = await createCa('wt-ca');
  const serverCert = await issue(ca, {
    commonName: 'server',
    usages: ['server'],
    ips: ['127.0.0.1'],
    dnsNames: ['kubernetes'],
  });
  const admin = await issue(ca, {
    commonName: 'kubernetes-admin',
    organizations: ['system:masters'],
    usages: ['client'],
  });
  const socketPath = join(folder, 'api.sock');
  const server = await startApiServer({
    dataFile: join(folder, 'db.sqlite'),
    listen: [{ path: socketPath }],
    tls: { cert: serverCert.cert, key: serverCert.key, clientCa: ca.cert },
    serviceAccount: { ...(await createSigningKey()), issuer: 'https://kubernetes.default.svc' },
    serviceCidrs: [asCidr('10.96.0.0/16')],
    advertise: { addresses: [asIp('172.18.0.2')], port: 6443 },
    kubelet: { ca: ca.cert, cert: admin.cert, key: admin.key },
    log,
  });
  const as = async (commonName: string, userAgent: string, organizations: string[] = []): Promise<Client> => {
    const { cert, key } = await issue(ca, { commonName, organizations, usages: ['client'] });
    return connect({ server: 'https://kubernetes:6443', socketPath, ca: ca.cert, cert, key, userAgent });
  };
  const client = await as('kubernetes-admin', 'test', ['system:masters']);
  const kubeletClient = await as('kubernetes-admin', 'kubelet', ['system:masters']);
  const controllerClient = await as('system:kube-controller-manager', 'kube-controller-manager');
  const schedulerClient = await as('system:kube-scheduler', 'kube-scheduler');
  const controllers = await startControllers({
    client: controllerClient,
    clusterCidrs: [asCidr('10.244.0.0/16')],
    serviceAccountRootCa: ca.cert,
    log,
  });
  const scheduler = await startScheduler({ client: schedulerClient, log });
  const kubelet = startHollowKubelet(kubeletClient);
  const addNode = async (name: string, more: Partial<Node> = {}): Promise<void> => {
    const node: Node = {
      apiVersion: 'v1',
      kind: 'Node',
      spec: {},
      ...more,
      metadata: { name, labels: { 'kubernetes.io/hostname': name }, ...more.metadata },
    };
    await client.create(nodes, node);
    const resources = { cpu: '4', memory: '8Gi', pods: '110', 'ephemeral-storage': '100Gi' };
    const condition = {
      type: 'Ready',
      status: 'True',
      reason: 'KubeletReady',
      lastHeartbeatTime: formatTime(Date.now()),
      lastTransitionTime: formatTime(Date.now()),
    };
    const status = { capacity: resources, allocatable: resources, conditions: [condition], ...more.status };
    await client.patch(nodes, { name }, { type: 'merge', body: { status } }, 'status');
  };
  for (const name of nodeNames) await addNode(name);
  return {
    client,
    addNode,
    async stop() {
      kubelet.stop();
      await scheduler.stop();
      await controllers.stop();
      for (const each of [client, controllerClient, schedulerClient, kubeletClient]) await each.close();
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Reports every bound pod as running and ready (annotation test/exit: as ended with that code), and lets deleted ones go. */
function startHollowKubelet(client: Client): { stop(): void } {
  const cache = client.cache(pods);
  let addresses = 1;
  const act = async ({ metadata, spec, status }: Stored<Pod>): Promise<void> => {
    if (!spec?.nodeName) return;
    if (metadata.deletionTimestamp !== undefined) return client.delete(pods, metadata, { gracePeriodSeconds: 0 });
    if (status?.phase !== undefined && status.phase !== 'Pending') return;
    const exit = metadata.annotations?.['test/exit'];
    const time = formatTime(Date.now());
    const ready = exit === undefined && metadata.annotations?.['test/unready'] === undefined ? 'True' : 'False';
    const ip = `10.244.0.${addresses++}`;
    const containerStatuses = spec.containers.map(({ name, image = '' }) => ({
      name,
      image,
      imageID: '',
      ready: ready === 'True',
      restartCount: 0,
      state:
        exit === undefined
          ? { running: { startedAt: time } }
          : { terminated: { exitCode: Number(exit), finishedAt: time } },
    }));
    const body = {
      status: {
        phase: exit === undefined ? 'Running' : exit === '0' ? 'Succeeded' : 'Failed',
        podIP: ip,
        podIPs: [{ ip }],
        startTime: time,
        containerStatuses,
        conditions: ['Ready', 'ContainersReady'].map((type) => ({ type, status: ready, lastTransitionTime: time })),
      },
    };
    await client.patch(pods, metadata, { type: 'strategic', body }, 'status');
  };
  cache.subscribe(({ type, object }) => {
    if (type === 'deleted') return;
    act(object).catch((error: unknown) => {
      if (!isNotFound(error) && !isConflict(error) && client !== undefined) log.warn({ err: error }, 'hollow kubelet');
    });
  });
  return { stop: () => cache.stop() };
}

/** Resolves when the cached objects satisfy the predicate; rejects with what they are after 15 s. */
export function until<T extends KubeObject>(
  cache: Cache<T>,
  what: string,
  is: (objects: readonly Stored<T>[]) => boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let end = (): void => undefined;
    const timer = setTimeout(() => {
      end();
      reject(new Error(`not within 15 s: ${what}\n${JSON.stringify(cache.list(), undefined, 1).slice(0, 6000)}`));
    }, 15_000);
    const check = (_change?: Change<T>): void => {
      if (!cache.isSynced || !is(cache.list())) return;
      clearTimeout(timer);
      setImmediate(() => end());
      resolve();
    };
    end = cache.subscribe(check);
    void cache.synced.then(() => check());
  });
}
