// A thousand requests a second on a running cluster, through all that is done to a Deployment and to nodes: none fails
// where pods end as Kubernetes asks for it, by a preStop hook or by serving on for a while after SIGTERM.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Machine, root, until } from './machine.ts';

const nodePort = 30518;
/** How long a pod serves after its end has begun: every proxy has heard of it long before. */
const lingerSeconds = 2;

/** The host's programs in a pod: there is no image with node or perl. */
function hostFolders(): { readonly volumeMounts: object[]; readonly volumes: object[] } {
  const paths = [...new Set(['/usr', '/lib', '/lib64', dirname(process.execPath), root])].filter(existsSync);
  return {
    volumeMounts: paths.map((mountPath, index) => ({ name: `host-${index}`, mountPath, readOnly: true })),
    volumes: paths.map((path, index) => ({ name: `host-${index}`, hostPath: { path } })),
  };
}

interface Application {
  readonly name: string;
  readonly service: object;
  /** After SIGTERM, in s. */
  readonly lingers: number;
  readonly lifecycle?: object;
}

function applicationOf({ name, service, lingers, lifecycle }: Application): object[] {
  const { volumeMounts, volumes } = hostFolders();
  const container = {
    name: 'web',
    image: 'weft.local/busybox:1',
    command: ['/usr/bin/perl', join(import.meta.dirname, 'web-server.pl'), '8080', String(lingers)],
    ports: [{ name: 'http', containerPort: 8080 }],
    readinessProbe: { httpGet: { port: 'http' }, periodSeconds: 1 },
    ...(lifecycle !== undefined && { lifecycle }),
    volumeMounts,
  };
  const metadata = { labels: { app: name } };
  const spec = { terminationGracePeriodSeconds: 10, containers: [container], volumes };
  return [
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name },
      spec: { replicas: 3, selector: { matchLabels: metadata.labels }, template: { metadata, spec } },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name },
      spec: { selector: metadata.labels, ports: [{ port: 80, targetPort: 'http', nodePort }], ...service },
    },
  ];
}

function objects(cluster: string): object {
  const { volumeMounts, volumes } = hostFolders();
  const container = { name: 'client', image: 'weft.local/busybox:1', command: ['sleep', '3600'], volumeMounts };
  const client = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'client' },
    spec: {
      nodeName: `${cluster}-control-plane`,
      terminationGracePeriodSeconds: 0,
      containers: [container],
      volumes,
    },
  };
  const waits = { preStop: { sleep: { seconds: lingerSeconds } } };
  const items = [
    ...applicationOf({ name: 'waits', service: { type: 'NodePort' }, lingers: 0, lifecycle: waits }),
    ...applicationOf({
      name: 'lingers',
      service: { ports: [{ port: 80, targetPort: 'http' }] },
      lingers: lingerSeconds,
    }),
    client,
  ];
  return { apiVersion: 'v1', kind: 'List', items };
}

interface Asking {
  readonly what: string;
  readonly program: ChildProcess;
}

interface Answers {
  readonly sent: number;
  readonly answers: Readonly<Record<string, number>>;
  readonly failures: readonly string[];
}

/** Ends the requests, and says what came of them. */
async function resultOf({ what, program }: Asking): Promise<Answers & { readonly what: string }> {
  const heard = once(program.stdout ?? program, 'data');
  program.stdin?.end();
  const [text]: unknown[] = await heard;
  return { what, ...JSON.parse(String(text)) };
}

/** The cluster is in the mode nftables, and has one node fewer when the tests are through. */
export function requestTests(machine: Machine, name: string): void {
  describe('requests that go on', () => {
    const askings: Asking[] = [];
    const kubectl = (...args: string[]): Promise<string> => machine.kubectl(name, ...args);
    const both = (...words: string[]): Promise<string> => kubectl(...words, 'deployment/waits', 'deployment/lingers');
    const rolledOut = async (): Promise<void> => {
      for (const one of ['waits', 'lingers']) await kubectl('rollout', 'status', `deployment/${one}`, '--timeout=60s');
    };
    const endpointsOn = async (node: string): Promise<number> => {
      const path = `jsonpath={range .items[*].endpoints[?(@.nodeName=="${node}")]}{.addresses[0]}{"\\n"}{end}`;
      return (await kubectl('get', 'endpointslices', '-o', path)).split('\n').filter(Boolean).length;
    };

    before(async () => {
      const kubectlApply = ['--context', `weft-${name}`, 'apply', '-f', '-'];
      const applied = await machine.run('kubectl', kubectlApply, JSON.stringify(objects(name)));
      assert.equal(applied.code, 0, applied.stderr);
      await rolledOut();
      await kubectl('wait', '--for=condition=Ready', 'pod/client', '--timeout=30s');
    });
    after(() => {
      for (const { program } of askings) program.kill();
    });

    test('a thousand requests a second: none fails', { timeout: 180_000 }, async (t) => {
      const client = [process.execPath, join(root, 'test/proxy/load-client.ts')];
      const inPod = ['--context', `weft-${name}`, 'exec', '-i', 'client', '--', ...client];
      const inNode = ['node', 'exec', 'control-plane', '--name', name, '--', ...client];
      const addressOf = (service: string) => kubectl('get', 'service', service, '-o', 'jsonpath={.spec.clusterIP}');
      const [waits, lingers] = [await addressOf('waits'), await addressOf('lingers')];
      const ask = (what: string, file: string, args: readonly string[], address: string, port: number, rate: number) =>
        askings.push({ what, program: machine.spawn(file, [...args, address, String(port), String(rate)]) });
      ask('a pod asks a ClusterIP', 'kubectl', inPod, waits, 80, 400);
      ask('a node asks a NodePort of another', join(root, 'weft'), inNode, '172.18.0.3', nodePort, 400);
      ask('a pod asks pods that serve on after SIGTERM', 'kubectl', inPod, lingers, 80, 200);
      await Promise.all(askings.map(({ program }) => once(program.stdout ?? program, 'data')));

      await t.test('while all pods are replaced', async () => {
        await both('rollout', 'restart');
        await rolledOut();
      });
      await t.test('while there are more pods, then fewer', async () => {
        await both('scale', '--replicas=6');
        await rolledOut();
        await both('scale', '--replicas=2');
        await both('wait', '--for=jsonpath={.status.replicas}=2', '--timeout=30s');
      });
      await t.test('while an agent is killed as pods are replaced', async () => {
        await both('scale', '--replicas=3');
        await rolledOut();
        const { processes } = await machine.status(name);
        await both('rollout', 'restart');
        process.kill(processes.find((one) => one.name === 'worker/agent')?.pid ?? 0, 'SIGKILL');
        await rolledOut();
      });
      await t.test('while the proxy mode changes to iptables and back', async () => {
        await machine.must('proxy', 'mode', 'iptables', '--name', name);
        await machine.must('proxy', 'mode', 'nftables', '--name', name);
      });
      await t.test('while a node with endpoints is removed', async () => {
        const node = `${name}-worker2`;
        assert.ok((await endpointsOn(node)) > 0, `${node} has no endpoint`);
        await machine.must('node', 'remove', node, '--name', name);
        await until('the endpoints to be elsewhere', async () => ((await endpointsOn(node)) === 0 ? true : undefined));
        await rolledOut();
      });

      for (const { what, sent, answers, failures } of await Promise.all(askings.map(resultOf))) {
        assert.deepEqual(failures, [], `${what}: ${failures.length} of ${sent} requests failed`);
        assert.ok(sent > 500, `${what}: only ${sent} requests were sent`);
        assert.ok(
          Object.keys(answers).length >= 9,
          `${what}: of three generations answered ${JSON.stringify(answers)}`,
        );
      }
    });
  });
}
