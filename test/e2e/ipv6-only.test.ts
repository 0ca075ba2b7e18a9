// End to end with IPv6 alone: no node and no pod has an IPv4 address that another one could reach.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { listOf, servers, service } from './family-objects.ts';
import { askFromNode, askFromPod, hasIpv6, hostLoopbacks, nodeAddresses, readPods, url } from './family-pods.ts';
import { apply, inNode, kubeconfig, kubectl, kubectlWith, weft } from './tools.ts';

const cluster = `wts${process.pid.toString(36)}`;
const nodes = [`${cluster}-control-plane`, `${cluster}-worker`] as const;

describe('a cluster with IPv6 alone', { skip: !hasIpv6 && 'this kernel has no IPv6' }, () => {
  before(async () => {
    const ranges = ['--pod-cidr', 'fd00:10:244::/56'];
    const up = await weft('up', '--name', cluster, '--nodes', '2', ...ranges, '--offline', '--kubeconfig', kubeconfig);
    assert.equal(up.code, 0, up.stderr + up.stdout);
    const open = service('open', { type: 'NodePort', ipFamilyPolicy: 'PreferDualStack' }, { nodePort: 30291 });
    await apply(listOf([...servers, open]));
    await kubectl('rollout', 'status', 'deployment/echo', '--timeout=60s');
    await kubectl('rollout', 'status', 'daemonset/on-node', '--timeout=60s');
  });

  after(async () => {
    const down = await weft('down', '--name', cluster);
    assert.equal(down.code, 0, down.stderr);
  });

  test('no node and no pod has an IPv4 address but its loopback’s, and the link-local one of the node’s DNS server', async () => {
    for (const node of nodes) {
      assert.match((await nodeAddresses(node)).join(), /^fd[0-9a-f:]+$/);
      assert.doesNotMatch(await inNode(cluster, node, 'ip', '-4', 'address'), /inet (?!127\.|169\.254\.20\.10\/)/);
    }
    for (const { name, ips } of await readPods('echo')) {
      assert.match(ips.join(), /^fd00:10:244:[0-9a-f:]+$/);
      assert.doesNotMatch(await kubectl('exec', name, '--', 'ip', '-4', 'address'), /inet (?!127\.)/);
    }
  });

  test('pods and nodes reach one another, and a pod is seen by the address that it has', async () => {
    const pods = await readPods('echo');
    const targets = [
      ...pods.map(({ name, ips: [ip = ''] }) => ({ server: name, url: url(ip, 8080) })),
      ...(await readPods('on-node')).map(({ node, ips: [ip = ''] }) => ({ server: node, url: url(ip, 8081) })),
    ];
    const urls = targets.map((target) => target.url);
    for (const from of pods)
      assert.deepEqual(
        await askFromPod(from.name, urls),
        targets.map(({ server }) => ({ peer: from.ips[0], server })),
      );
    for (const node of nodes)
      assert.deepEqual(
        (await askFromNode(cluster, node, urls)).map(({ server }) => server),
        targets.map(({ server }) => server),
      );
  });

  test('a Service answers by its name, on every node, and on both loopbacks of the host', async () => {
    const [client] = await readPods('echo');
    const [byName] = await askFromPod(client?.name ?? '', ['http://open/cgi-bin/peer']);
    assert.match(byName?.server ?? '', /^echo-/);
    const addresses = (await Promise.all(nodes.map(nodeAddresses))).flat();
    for (const { server } of await askFromNode(
      cluster,
      nodes[1],
      addresses.map((ip) => url(ip, 30291)),
    ))
      assert.match(server, /^echo-/);
    const status = JSON.parse((await weft('status', '--name', cluster, '-o', 'json')).stdout) as {
      nodePorts: { service: string; hostPort: number }[];
    };
    const port = status.nodePorts.find((one) => one.service === 'default/open')?.hostPort ?? assert.fail('no port');
    for (const host of hostLoopbacks()) assert.match(await (await fetch(url(host, port))).text(), /echo-/);
  });

  test('logs and exec work, and a Service that requires both families is refused', async () => {
    const [client] = await readPods('echo');
    await kubectl('logs', client?.name ?? '');
    const { stderr } = await kubectlWith(
      JSON.stringify(service('both', { ipFamilyPolicy: 'RequireDualStack' })),
      'create',
      '-f',
      '-',
    );
    assert.match(
      stderr,
      /spec\.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual/,
    );
  });
});
