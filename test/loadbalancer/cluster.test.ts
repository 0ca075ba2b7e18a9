// Load balancers of a whole cluster: reached from the nodes' LAN, nodes and pods by both families; who fails is followed.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { apply, kubeconfig, kubectl, projectRoot, run, weft } from '../e2e/tools.ts';
import { eventually } from './lan.ts';

const cluster = 'wtlb';
/** The router is on the nodes' LAN, and its link is cut with theirs: it stands for a client there. */
const client = `${cluster}-router`;
const nodes = ['control-plane', 'worker', 'worker2'].map((role) => `${cluster}-${role}`);
const children: ChildProcess[] = [];

const weftOk = async (...args: string[]): Promise<string> => {
  const { code, stdout, stderr } = await weft(...args, '--name', cluster);
  assert.equal(code, 0, `weft ${args.join(' ')}: ${stderr}`);
  return stdout;
};
/** The answer of the first pod that is asked at an address; undefined where none comes. */
const ask = async (netns: string, host: string): Promise<string | undefined> => {
  const { code, stdout } = await run('ip', [
    'netns',
    'exec',
    netns,
    'curl',
    '-sg',
    '-m',
    '2',
    `http://${host}/hostname`,
  ]);
  return code === 0 ? stdout.trim() : undefined;
};
const addressesOf = async (name: string): Promise<string[]> =>
  (await kubectl('get', 'service', name, '-o', 'jsonpath={.status.loadBalancer.ingress[*].ip}'))
    .split(' ')
    .filter(Boolean);
interface L2Status {
  readonly status?: { readonly node?: string; readonly serviceName?: string };
}
const ownersOf = async (name: string): Promise<string[]> => {
  const { items }: { items: L2Status[] } = JSON.parse(await kubectl('get', 'servicel2statuses', '-A', '-o', 'json'));
  const own = items.filter(({ status }) => status?.serviceName === name);
  return own.map(({ status }) => status?.node ?? '').sort();
};
/** Connects all the time while `during` runs; the longest time without a connection, in ms. */
async function longestGap(address: string, during: () => Promise<void>): Promise<number> {
  const prober = [join(projectRoot, 'scripts/node'), join(import.meta.dirname, 'prober.ts'), address, '80'];
  const child = spawn('ip', ['netns', 'exec', client, ...prober], { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  const lines = createInterface({ input: child.stdout });
  await once(lines, 'line');
  await during();
  const last = once(lines, 'line');
  child.stdin.end();
  return Number(String(await last));
}

before(async () => {
  const ranges = ['--pod-cidr', '10.244.0.0/16,fd00:10:244::/56', '--service-cidr', '10.96.0.0/16,fd00:10:96::/112'];
  await weftOk('up', '--kubeconfig', kubeconfig, '--offline', ...ranges);
  // One pod on each node.
  await apply(`
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: web, namespace: default }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - { name: web, image: "weft.local/busybox:1", command: [busybox, httpd, -f, -v, -p, "80", -h, /etc] }
---
apiVersion: v1
kind: Service
metadata: { name: both, namespace: default }
spec:
  type: LoadBalancer
  ipFamilyPolicy: PreferDualStack
  allocateLoadBalancerNodePorts: false
  selector: { app: web }
  ports: [{ port: 80 }]
---
apiVersion: v1
kind: Service
metadata: { name: local, namespace: default }
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: { app: web }
  ports: [{ port: 80 }]
`);
  await kubectl('rollout', 'status', 'daemonset/web', '--timeout=60s');
});
after(async () => {
  for (const child of children) child.kill('SIGKILL');
  await weft('down', '--name', cluster);
});

test('a Service has an address of each family, of the pool of the cluster, and answers there on all its ways', async () => {
  const [four = '', six = ''] = await addressesOf('both');
  assert.match(four, /^172\.18\.250\.\d+$/);
  assert.match(six, /^fd[0-9a-f:]+:fa00:[0-9a-f]+$/);
  for (const host of [four, `[${six}]`]) {
    await eventually(`${host} from the LAN`, 5000, async () => (await ask(client, host)) !== undefined);
    for (const node of nodes) assert.ok(await ask(node, host), `${host} from ${node}`);
    const pod = await kubectl('exec', 'daemonset/web', '--', 'busybox', 'wget', '-q', '-O-', `http://${host}/hostname`);
    assert.match(pod, /^web-/, `${host} from a pod`);
  }
  for (const node of nodes) {
    const { stdout } = await run('ip', ['-n', node, 'address']);
    assert.ok(!stdout.includes(four) && !stdout.includes(six), `${node} has not bound it`);
  }
  assert.match(
    await kubectl('get', 'service', 'both'),
    new RegExp(`LoadBalancer +\\S+ +${four.replaceAll('.', '\\.')}`),
  );
});

test('status shows the pool, who has which address, and the way from the host', async () => {
  const status = JSON.parse(await weftOk('status', '-o', 'json'));
  assert.match(status.lbPool, /^172\.18\.250\.1-172\.18\.250\.254,fd/);
  const own = status.loadBalancers.find(({ service }: { service: string }) => service === 'default/local');
  assert.deepEqual(own, {
    service: 'default/local',
    addresses: await addressesOf('local'),
    ports: ['80/TCP'],
    announcedBy: await ownersOf('local'),
  });
  for (const name of ['default/local', 'default/both']) {
    const forward = status.nodePorts.find(({ service }: { service: string }) => service === name);
    const { stdout } = await run('curl', ['-s', '-m', '5', `http://127.0.0.1:${forward.hostPort}/hostname`]);
    assert.match(stdout, /^web-/, name);
  }
});

test('under the policy Local the pod on the announcing node answers and sees the client itself', async () => {
  const [address = ''] = await addressesOf('local');
  await eventually('it is announced', 5000, async () => (await ownersOf('local')).length === 1);
  const [owner = ''] = await ownersOf('local');
  const list = await kubectl(
    'get',
    'pods',
    '-l',
    'app=web',
    '--field-selector',
    `spec.nodeName=${owner}`,
    '-o',
    'name',
  );
  const pod = list.trim().replace('pod/', '');
  for (let count = 0; count < 5; count++) assert.equal(await ask(client, address), pod);
  assert.match(await kubectl('logs', pod), /172\.18\.0\.1\]?:\d+/);
});

test('when the announcing node is cut off, another one takes the address over within 2 s; and it comes back', async () => {
  const [address = ''] = await addressesOf('local');
  const [owner = ''] = await ownersOf('local');
  const gap = await longestGap(address, async () => {
    await weftOk('underlay', 'cut', owner);
    await eventually('another node has it', 5000, async () => {
      const now = await ownersOf('local');
      return now.length === 1 && now[0] !== owner;
    });
  });
  assert.ok(gap < 2000, `nobody was reached for ${gap} ms`);
  const back = await longestGap(address, async () => {
    await weftOk('underlay', 'heal', owner);
    await eventually('the node has it again', 8000, async () => String(await ownersOf('local')) === owner);
  });
  assert.ok(back < 2000, `nobody was reached for ${back} ms`);
});

test('an agent that is killed is not missed for 2 s', async () => {
  const [address = ''] = await addressesOf('local');
  const [owner = ''] = await ownersOf('local');
  const pids = `/run/weft/${cluster}/pids`;
  const role = owner.replace(`${cluster}-`, '');
  const pidOf = (): number => {
    const file = readdirSync(pids).find(
      (name) => name.includes(role) && name.includes('agent') && matchesRole(name, role),
    );
    return JSON.parse(readFileSync(join(pids, file ?? ''), 'utf8')).pid;
  };
  const before = pidOf();
  const gap = await longestGap(address, async () => {
    process.kill(before, 'SIGKILL');
    await eventually('it has been started again', 5000, () => pidOf() !== before);
    // So long it is looked whether somebody is missed.
    await delay(2500);
  });
  assert.ok(gap < 2000, `nobody was reached for ${gap} ms`);
});

const matchesRole = (file: string, role: string): boolean => new RegExp(`(^|[^a-z])${role}[^0-9a-z]`).test(file);

test('a Service whose pods go away under the policy Local moves to a node that has one', async () => {
  const [owner = ''] = await ownersOf('local');
  await kubectl('label', 'node', owner, 'web=no');
  const patch = {
    spec: {
      template: {
        spec: {
          affinity: {
            nodeAffinity: {
              requiredDuringSchedulingIgnoredDuringExecution: {
                nodeSelectorTerms: [{ matchExpressions: [{ key: 'web', operator: 'DoesNotExist' }] }],
              },
            },
          },
        },
      },
    },
  };
  await kubectl('patch', 'daemonset', 'web', '-p', JSON.stringify(patch));
  await kubectl('rollout', 'status', 'daemonset/web', '--timeout=60s');
  const [address = ''] = await addressesOf('local');
  await eventually('another node announces it', 10_000, async () => {
    const now = await ownersOf('local');
    return now.length === 1 && now[0] !== owner;
  });
  await eventually('it answers', 3000, async () => (await ask(client, address)) !== undefined);
  await kubectl('delete', 'service', 'local', 'both');
  await eventually('nothing is left of them', 5000, async () => (await ownersOf('local')).length === 0);
  assert.equal(await ask(client, address), undefined);
});
