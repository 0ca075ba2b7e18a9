// The three rules of the pod network, Services and names, seen from inside pods and nodes.
import assert from 'node:assert/strict';
import { Resolver } from 'node:dns/promises';
import { test } from 'node:test';
import { apply, cluster, kubectl, onNode, run, until, weft } from './tools.ts';

/** A web server whose answer is the address from which it was asked, and its own name. */
const echo = [
  'mkdir -p /www/cgi-bin',
  'printf \'#!/bin/sh\\nprintf "Content-Type: text/plain\\\\r\\\\n\\\\r\\\\n$REMOTE_ADDR $HOSTNAME\\\\n"\\n\' > /www/cgi-bin/peer',
  'chmod +x /www/cgi-bin/peer',
  'exec httpd -f -p 0.0.0.0:8080 -h /www',
].join(' && ');

export const echoDeployment = (name: string, replicas: number): string =>
  JSON.stringify({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: {
          terminationGracePeriodSeconds: 0,
          containers: [
            {
              name: 'echo',
              image: 'weft.local/busybox:1',
              command: ['sh', '-c', echo],
              ports: [{ name: 'http', containerPort: 8080 }],
              readinessProbe: { httpGet: { path: '/cgi-bin/peer', port: 'http' }, periodSeconds: 1 },
            },
          ],
        },
      },
    },
  });

const service = (name: string, spec: object): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { selector: { app: 'echo' }, ports: [{ port: 80, targetPort: 'http' }], ...spec },
  });

interface Listed {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly spec: { readonly nodeName: string };
    readonly status: { readonly podIP: string };
  }[];
}

async function echoPods(): Promise<{ name: string; node: string; ip: string }[]> {
  const list = JSON.parse(await kubectl('get', 'pods', '-l', 'app=echo', '-o', 'json')) as Listed;
  return list.items.map((pod) => ({ name: pod.metadata.name, node: pod.spec.nodeName, ip: pod.status.podIP }));
}

const fromPod = async (pod: string, url: string): Promise<string> =>
  (await kubectl('exec', pod, '--', 'wget', '-qO-', url)).trim();

export function networkTests(): void {
  test("replicas spread over the nodes, and each pod has an address of its node's range", async () => {
    await apply(echoDeployment('echo', 3));
    await kubectl('rollout', 'status', 'deployment/echo', '--timeout=60s');
    const pods = await echoPods();
    assert.equal(new Set(pods.map((pod) => pod.node)).size, 3);
    for (const pod of pods) {
      const range = await kubectl('get', 'node', pod.node, '-o', 'jsonpath={.spec.podCIDR}');
      assert.equal(pod.ip.split('.').slice(0, 3).join('.'), range.split('.').slice(0, 3).join('.'));
    }
  });

  test('every pod reaches every pod, and is seen by the address that it has', async () => {
    const pods = await echoPods();
    for (const from of pods) {
      for (const to of pods) {
        assert.equal(await fromPod(from.name, `http://${to.ip}:8080/cgi-bin/peer`), `${from.ip} ${to.name}`);
      }
    }
  });

  test('datagrams of 60,000 bytes pass between all pods, and frames of the whole MTU of 1500 unbroken', async () => {
    const pods = await echoPods();
    for (const from of pods) {
      const pings = pods.map(({ ip }) => `ping -c 1 -W 2 -q -s 60000 ${ip} && ping -c 1 -W 2 -q -s 1472 ${ip}`);
      await kubectl('exec', from.name, '--', 'sh', '-c', pings.join(' && '));
    }
  });

  test('nodes have their ranges in their order, the control plane the first one', async () => {
    const ranges = await kubectl(
      'get',
      'nodes',
      '-o',
      'jsonpath={range .items[*]}{.metadata.name} {.spec.podCIDR};{end}',
    );
    assert.deepEqual(ranges.split(';').filter(Boolean).sort(), [
      `${cluster}-control-plane 10.244.0.0/24`,
      `${cluster}-worker 10.244.1.0/24`,
      `${cluster}-worker2 10.244.2.0/24`,
    ]);
  });

  test("a node's link that was down takes its routes with it, and they come back with it", async () => {
    const pod = (await echoPods()).find(({ node }) => node.endsWith('-worker2')) ?? assert.fail('no pod on worker2');
    await onNode('worker', 'ip', 'link', 'set', 'eth0', 'down');
    await onNode('worker', 'ip', 'link', 'set', 'eth0', 'up');
    const start = performance.now();
    await until(
      'the pod of another node and the API by its Service',
      async () =>
        (await onNode('worker', 'busybox', 'wget', '-qO-', `http://${pod.ip}:8080/cgi-bin/peer`)) !== '' &&
        (await onNode('worker', 'busybox', 'nc', '-w', '1', '10.96.0.1', '443')) === '',
      5,
    );
    assert.ok(performance.now() - start < 5000);
  });

  test('every node reaches every pod without translation', async () => {
    const pods = await echoPods();
    const nodes = JSON.parse(await kubectl('get', 'nodes', '-o', 'json')) as {
      items: {
        metadata: { name: string };
        status: { addresses: { type: string; address: string }[] };
        spec: { podCIDR: string };
      }[];
    };
    for (const node of nodes.items) {
      const name = node.metadata.name.slice(cluster.length + 1);
      const own = [
        node.status.addresses.find((one) => one.type === 'InternalIP')?.address,
        node.spec.podCIDR.replace(/\.0\/24$/, '.1'),
      ];
      for (const pod of pods) {
        const peer = await onNode(name, 'busybox', 'wget', '-qO-', `http://${pod.ip}:8080/cgi-bin/peer`);
        assert.ok(own.includes(peer.split(' ')[0]), `${pod.name} sees ${node.metadata.name} as ${peer}`);
      }
    }
  });

  test('a ClusterIP Service is reached by each of its names and uses every ready endpoint, without translation of the client', async () => {
    await apply(service('echo', {}));
    const pods = await echoPods();
    // The node whose link was down a moment ago: its own connections must have survived that, or it learns of nothing new.
    const client = pods.find(({ node }) => node.endsWith('-worker')) ?? assert.fail('no pod on worker');
    for (const name of ['echo', 'echo.default', 'echo.default.svc.cluster.local']) {
      await until(name, async () => (await fromPod(client.name, `http://${name}/cgi-bin/peer`)) !== '', 10);
    }
    const answers = await kubectl(
      'exec',
      client.name,
      '--',
      'sh',
      '-c',
      'for i in $(seq 40); do wget -qO- http://echo/cgi-bin/peer; done',
    );
    const lines = answers.trim().split('\n');
    assert.equal(lines.length, 40);
    assert.equal(new Set(lines.map((line) => line.split(' ')[1])).size, 3, answers);
    for (const line of lines) {
      const [peer, server] = line.split(' ');
      // A pod that reaches itself through its Service is masqueraded: it would drop its own address coming from outside.
      if (server !== client.name) assert.equal(peer, client.ip);
    }
  });

  test('a headless Service names every ready pod', async () => {
    await apply(service('echo-headless', { clusterIP: 'None' }));
    const pods = await echoPods();
    const client = pods[0]?.name ?? assert.fail('no pods');
    await until(
      'three addresses',
      async () => {
        const { stdout } = await run('kubectl', [
          'exec',
          client,
          '--',
          'nslookup',
          'echo-headless.default.svc.cluster.local',
        ]);
        return pods.every((pod) => stdout.includes(`Address: ${pod.ip}`));
      },
      15,
    );
  });

  test('a NodePort answers on every node and on the host', async () => {
    await apply(service('echo-open', { type: 'NodePort', ports: [{ port: 80, targetPort: 'http', nodePort: 30181 }] }));
    const nodes = await kubectl(
      'get',
      'nodes',
      '-o',
      'jsonpath={.items[*].status.addresses[?(@.type=="InternalIP")].address}',
    );
    for (const address of nodes.split(' ')) {
      await until(
        `the NodePort on ${address}`,
        async () => (await onNode('worker', 'busybox', 'wget', '-qO-', `http://${address}:30181/cgi-bin/peer`)) !== '',
        10,
      );
    }
    const status = JSON.parse((await weft('status', '--name', cluster, '-o', 'json')).stdout) as {
      nodePorts: { service: string; hostPort: number }[];
    };
    const port = status.nodePorts.find((one) => one.service === 'default/echo-open')?.hostPort;
    assert.match(await (await fetch(`http://127.0.0.1:${port}/cgi-bin/peer`)).text(), /echo-/);
  });

  test('a NodePort of UDP answers on the host too', async () => {
    const ports = [{ port: 53, protocol: 'UDP', nodePort: 30182 }];
    await apply(
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'dns-outside', namespace: 'kube-system' },
        spec: { type: 'NodePort', selector: { 'k8s-app': 'kube-dns' }, ports },
      }),
    );
    const forwarded = async (): Promise<number | undefined> => {
      const status: { nodePorts: { service: string; hostPort?: number }[] } = JSON.parse(
        (await weft('status', '--name', cluster, '-o', 'json')).stdout,
      );
      return status.nodePorts.find((one) => one.service === 'kube-system/dns-outside')?.hostPort;
    };
    await until('the port is forwarded', async () => (await forwarded()) !== undefined, 10);
    const port = await forwarded();
    const resolver = new Resolver({ timeout: 1_000, tries: 3 });
    resolver.setServers([`127.0.0.1:${port}`]);
    assert.deepEqual(await resolver.resolve4('kubernetes.default.svc.cluster.local'), ['10.96.0.1']);
  });

  test('a Service follows its pods: none ready means refused at once, ready again means reached', async () => {
    const client = 'client';
    await kubectl('run', client, '--image=weft.local/busybox:1', '--restart=Never', '--', 'sleep', '3600');
    await kubectl('wait', '--for=condition=Ready', `pod/${client}`, '--timeout=30s');
    await kubectl('scale', 'deployment/echo', '--replicas=0');
    await until(
      'no endpoints',
      async () => {
        const { code, stderr } = await run('kubectl', ['exec', client, '--', 'wget', '-qO-', 'http://echo/']);
        return code !== 0 && /refused/i.test(stderr);
      },
      30,
    );
    await kubectl('scale', 'deployment/echo', '--replicas=2');
    await until('an endpoint', async () => (await fromPod(client, 'http://echo/cgi-bin/peer')) !== '', 30);
    await kubectl('delete', 'pod', client, '--grace-period=0', '--force');
    await kubectl('delete', 'service/echo', 'service/echo-open', 'service/echo-headless', 'deployment/echo');
  });
}
