// A cluster from its `up` to its `down`: what it takes from the host (nothing), what survives which death.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { hostPicture, leftovers, Machine, until } from './machine.ts';

const machine = new Machine();
const name = 'wtc';
let picture: Record<string, string>;

before(() => {
  picture = hostPicture();
});

after(async () => {
  await machine.weft('down', '--name', name);
  rmSync(machine.home, { recursive: true, force: true });
});

const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: weft.local/busybox:1
          command: [sh, -c, 'hostname > /index.html; exec httpd -f -p 80 -h /']
          readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, nodePort: 30517}]
`;

/** The page of the Service on its NodePort of the host. */
async function page(): Promise<string> {
  const { nodePorts } = await machine.status(name);
  const port = nodePorts.find(({ nodePort }) => nodePort === 30517)?.hostPort;
  return await new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, timeout: 2000, agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += String(chunk);
      });
      response.on('end', () => resolve(text.trim()));
    });
    sent.on('timeout', () => sent.destroy(new Error('no answer')));
    sent.on('error', reject);
    sent.end();
  });
}

/** Names and restart counts of all pods: equal before and after what must not disturb them. */
async function podRestarts(): Promise<string> {
  const format =
    'jsonpath={range .items[*]}{.metadata.uid} {.status.phase} {.status.containerStatuses[*].restartCount}{"\\n"}{end}';
  return await machine.kubectl(name, 'get', 'pods', '-A', '-o', format);
}

test('up: every node is Ready and cluster DNS answers', async () => {
  const said = await machine.must('up', '--name', name);
  assert.match(said, /The cluster 'wtc' is ready/);
  const ready = 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}';
  assert.equal(await machine.kubectl(name, 'get', 'nodes', '-o', ready), 'True True True');
  const status = await machine.status(name);
  assert.equal(status.state, 'ready');
  assert.deepEqual(
    status.nodes.map((node) => node.name),
    ['wtc-control-plane', 'wtc-worker', 'wtc-worker2'],
  );
});

test('a second up says that the cluster runs and changes nothing', async () => {
  const before = await machine.status(name);
  assert.match(await machine.must('up', '--name', name), /runs already/);
  assert.deepEqual((await machine.status(name)).processes, before.processes);
  const other = await machine.weft('up', '--name', name, '--nodes', '5');
  assert.equal(other.code, 2);
  assert.match(other.stderr, /--nodes 5 \(it has 3\)/);
});

test('no file with a key is readable by others', () => {
  assert.equal(statSync(join(machine.state, name)).mode & 0o077, 0);
  const pki = join(machine.state, name, 'pki');
  for (const file of readdirSync(pki)) assert.equal(statSync(join(pki, file)).mode & 0o077, 0, file);
  for (const file of [machine.kubeconfig, join(machine.state, name, 'kubeconfig')])
    assert.equal(statSync(file).mode & 0o077, 0, file);
});

test('the host keeps its links, routes, rules, sysctls and files while a cluster runs', () => {
  const now = hostPicture();
  for (const part of Object.keys(picture)) {
    if (part === 'mounts') continue;
    assert.equal(now[part], picture[part], part);
  }
});

test('a node has its own host name, addresses and files, and commands end with their status', async () => {
  const inNode = (...command: string[]) => machine.weft('node', 'exec', 'worker', '--name', name, '--', ...command);
  assert.equal((await inNode('hostname')).stdout.trim(), 'wtc-worker');
  assert.match((await inNode('ip', '-4', '-brief', 'address')).stdout, /eth0@\S+ +UP +172\.18\.0\.3\/16/);
  assert.doesNotMatch((await inNode('ip', 'route')).stdout, /default/);
  assert.match((await inNode('cat', '/etc/hosts')).stdout, /172\.18\.0\.4 wtc-worker2/);
  assert.equal((await inNode('sh', '-c', 'exit 7')).code, 7);
  assert.equal((await machine.weft('node', 'exec', 'nobody', '--name', name, '--', 'true')).code, 1);
});

test('a Service answers on its NodePort of the host', async () => {
  const applied = await machine.run('kubectl', ['--context', `weft-${name}`, 'apply', '-f', '-'], web);
  assert.equal(applied.code, 0, applied.stderr);
  await machine.kubectl(name, 'rollout', 'status', 'deployment/web', '--timeout=60s');
  assert.match(await until('the page', page), /^web-/);
});

test('whichever process is killed comes back, and no pod notices', async () => {
  const restarts = await podRestarts();
  const names = (await machine.status(name)).processes.map((process) => process.name);
  assert.equal(names.length, 8);
  for (const process_ of names) {
    const old = (await machine.status(name)).processes.find((one) => one.name === process_)?.pid;
    assert.ok(old, process_);
    process.kill(old, 'SIGKILL');
    assert.match(await until(`the page while ${process_} is down`, page), /^web-/);
    await until(`${process_} to come back`, async () => {
      const status = await machine.status(name);
      const now = status.processes.find((one) => one.name === process_)?.pid;
      return now !== undefined && now !== old && status.state === 'ready' ? now : undefined;
    });
  }
  await until('every node to be Ready', async () => {
    const { nodes } = await machine.status(name);
    return nodes.every(({ state }) => state === 'Ready') || undefined;
  });
  await until('the pods to be as before', async () => ((await podRestarts()) === restarts ? true : undefined));
});

test('after the death of everything, up brings the cluster back with its objects', async () => {
  for (let round = 0; round < 5; round++) for (const pid of processesOf(name)) kill(pid);
  assert.equal((await machine.status(name)).state, 'stopped');
  await machine.must('up', '--name', name);
  await machine.kubectl(name, 'rollout', 'status', 'deployment/web', '--timeout=90s');
  assert.match(await until('the page', page, 60), /^web-/);
});

test('down removes all that there was, and the host is as before', async () => {
  await machine.must('down', '--name', name);
  assert.deepEqual(leftovers(name, machine), []);
  assert.deepEqual(hostPicture(), picture);
  assert.doesNotMatch(readFileSync(machine.kubeconfig, 'utf8'), /weft-wtc/);
});

test('down removes a cluster whose state folder is lost', async () => {
  await machine.must('up', '--name', name, '--nodes', '1');
  rmSync(join(machine.state, name), { recursive: true, force: true });
  await machine.must('down', '--name', name);
  assert.deepEqual(leftovers(name, machine), []);
  assert.deepEqual(hostPicture(), picture);
});

test('down removes what a broken up has left', async () => {
  mkdirSync(join(machine.state, name), { recursive: true });
  writeFileSync(join(machine.state, name, 'settings.json'), '{');
  await machine.must('down', '--name', name);
  assert.deepEqual(leftovers(name, machine), []);
});

test('a home knows its own clusters only: down --all leaves those of another alone', async () => {
  const other = new Machine();
  try {
    await machine.must('up', '--name', name, '--nodes', '1');
    await other.must('down', '--all');
    const refused = await other.weft('down', '--name', name);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, new RegExp(`WEFT_HOME=${machine.state} `));
    assert.equal((await other.weft('up', '--name', name)).code, 2);
    assert.equal((await machine.status(name)).state, 'ready');
  } finally {
    rmSync(other.home, { recursive: true, force: true });
    await machine.must('down', '--name', name);
  }
});

test('three clusters run side by side', async () => {
  const names = ['wtc1', 'wtc2', 'wtc3'];
  try {
    const ups = await Promise.all(names.map((one) => machine.weft('up', '--name', one, '--nodes', '2')));
    for (const up of ups) assert.equal(up.code, 0, up.stderr);
    for (const one of names) {
      const nodes = await machine.kubectl(one, 'get', 'nodes', '-o', 'jsonpath={.items[*].metadata.name}');
      assert.equal(nodes, `${one}-control-plane ${one}-worker`);
    }
    await machine.must('down', '--name', 'wtc2');
    assert.equal((await machine.status('wtc1')).state, 'ready');
    assert.equal((await machine.status('wtc3')).state, 'ready');
  } finally {
    await machine.must('down', '--all');
  }
  for (const one of names) assert.deepEqual(leftovers(one, machine), []);
  assert.deepEqual(hostPicture(), picture);
});

function processesOf(cluster: string): number[] {
  return readdirSync('/proc').flatMap((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`/weft/${cluster}/`)
        ? [Number(pid)]
        : [];
    } catch {
      return [];
    }
  });
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}
