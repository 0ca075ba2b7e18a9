// End to end with IPv4 and IPv6 at once: a small cluster of its own, driven by the real kubectl.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { asIp, type Family, familyOf, parseIp, urlHost } from '../../src/net/address.ts';
import { dualStackObjects } from './family-objects.ts';
import {
  askFromNode as askFromNodeOf,
  askFromPod,
  hasIpv6,
  hostLoopbacks,
  nodeAddresses,
  readPods,
  startDatagramServer,
  type TestPod,
  url,
} from './family-pods.ts';
import { apply, inNode, kubeconfig, kubectl, kubectlWith, run, until, weft } from './tools.ts';

const cluster = `wtd${process.pid.toString(36)}`;
const families = ['IPv4', 'IPv6'] as const satisfies readonly Family[];
const nodes = [`${cluster}-control-plane`, `${cluster}-worker`] as const;

describe('a cluster with IPv4 and IPv6', { skip: !hasIpv6 && 'this kernel has no IPv6' }, () => {
  before(async () => {
    const ranges = ['--pod-cidr', '10.244.0.0/16,fd00:10:244::/56', '--service-cidr', '10.96.0.0/16,fd00:10:96::/112'];
    const up = await weft('up', '--name', cluster, '--nodes', '2', ...ranges, '--offline', '--kubeconfig', kubeconfig);
    assert.equal(up.code, 0, up.stderr + up.stdout);
    await apply(dualStackObjects);
    await kubectl('rollout', 'status', 'deployment/echo', '--timeout=60s');
    await kubectl('rollout', 'status', 'daemonset/on-node', '--timeout=60s');
  });

  after(async () => {
    const down = await weft('down', '--name', cluster);
    assert.equal(down.code, 0, down.stderr);
  });

  const ofFamily = (addresses: readonly string[], family: Family): string =>
    addresses.find((text) => familyOf(parseIp(text) ?? assert.fail(text)) === family) ?? assert.fail(`no ${family}`);

  const askFromNode = (node: string, urls: readonly string[]) => askFromNodeOf(cluster, node, urls);

  async function service(name: string): Promise<{ families: string[]; addresses: string[]; policy: string }> {
    const { spec } = JSON.parse(await kubectl('get', 'service', name, '-o', 'json'));
    return { families: spec.ipFamilies, addresses: spec.clusterIPs, policy: spec.ipFamilyPolicy };
  }

  test('nodes and pods have an address of each family, and pods are told of both', async () => {
    const pods = await readPods('echo');
    for (const node of nodes) assert.deepEqual((await nodeAddresses(node)).map(familyOfText), families);
    for (const pod of pods) {
      assert.deepEqual(pod.ips.map(familyOfText), families);
      assert.deepEqual(pod.hostIps, await nodeAddresses(pod.node));
    }
    const [pod] = pods;
    const shown = await kubectl(
      'exec',
      pod?.name ?? '',
      '--',
      'sh',
      '-c',
      'echo $POD_IPS; cat /etc/hosts /etc/resolv.conf',
    );
    assert.match(shown, new RegExp(`^${pod?.ips.join(',')}\n`));
    for (const ip of pod?.ips ?? []) assert.match(shown, new RegExp(`^${ip}\t${pod?.name}`, 'm'));
    for (const server of ['10.96.0.10', 'fd00:10:96::a'])
      assert.match(shown, new RegExp(`^nameserver ${server}$`, 'm'));
  });

  const familyOfText = (text: string): Family => familyOf(parseIp(text) ?? assert.fail(text));

  test('every pod reaches every pod by both families, and is seen by the address that it has', async () => {
    const pods = await readPods('echo');
    assert.deepEqual(new Set(pods.map(({ node }) => node)), new Set(nodes));
    const targets = pods.flatMap((pod) => pod.ips.map((ip) => ({ pod, ip })));
    for (const from of pods) {
      const seen = await askFromPod(
        from.name,
        targets.map(({ ip }) => url(ip, 8080)),
      );
      const wanted = targets.map(({ pod, ip }) => ({ peer: ofFamily(from.ips, familyOfText(ip)), server: pod.name }));
      assert.deepEqual(seen, wanted, `from ${from.name} on ${from.node}`);
    }
  });

  test('every node reaches every pod by both families, without translation', async () => {
    const pods = await readPods('echo');
    const targets = pods.flatMap((pod) => pod.ips.map((ip) => ({ pod, ip })));
    for (const node of nodes) {
      const ranges = (await kubectl('get', 'node', node, '-o', 'jsonpath={.spec.podCIDRs[*]}')).split(' ');
      const own = [
        ...(await nodeAddresses(node)),
        ...ranges.map((range) => range.replace(/(\.0|::)\/\d+$/, (_, end) => `${end === '.0' ? '.' : '::'}1`)),
      ];
      const seen = await askFromNode(
        node,
        targets.map(({ ip }) => url(ip, 8080)),
      );
      assert.deepEqual(
        seen.map(({ server }) => server),
        targets.map(({ pod }) => pod.name),
      );
      for (const { peer } of seen) assert.ok(own.includes(peer), `${node} is seen as ${peer}, not as one of ${own}`);
    }
  });

  test('every pod reaches every node by both families, and is seen by the address that it has', async () => {
    const onNodes = await readPods('on-node');
    assert.deepEqual(new Set(onNodes.map(({ node }) => node)), new Set(nodes));
    for (const pod of onNodes) assert.deepEqual(pod.ips, await nodeAddresses(pod.node));
    const targets = onNodes.flatMap((pod) => pod.ips.map((ip) => ({ pod, ip })));
    for (const from of await readPods('echo')) {
      const seen = await askFromPod(
        from.name,
        targets.map(({ ip }) => url(ip, 8081)),
      );
      assert.deepEqual(
        seen,
        targets.map(({ pod, ip }) => ({ peer: ofFamily(from.ips, familyOfText(ip)), server: pod.node })),
      );
    }
  });

  test('a Service has the families that its policy asks for', async () => {
    const expected: Record<string, readonly [policy: string, families: readonly Family[]]> = {
      plain: ['SingleStack', ['IPv4']],
      prefer: ['PreferDualStack', ['IPv4', 'IPv6']],
      require: ['RequireDualStack', ['IPv6', 'IPv4']],
      only6: ['SingleStack', ['IPv6']],
    };
    for (const [name, [policy, wanted]] of Object.entries(expected)) {
      const found = await service(name);
      assert.equal(found.policy, policy);
      assert.deepEqual(found.families, wanted);
      assert.deepEqual(found.addresses.map(familyOfText), wanted);
      const slices = await kubectl(
        'get',
        'endpointslices',
        '-l',
        `kubernetes.io/service-name=${name}`,
        '-o',
        'jsonpath={.items[*].addressType}',
      );
      assert.deepEqual(slices.split(' ').sort(), [...wanted].sort());
    }
  });

  test('each address of a Service leads to its pods, from pods and from nodes, without translation of pods', async () => {
    const pods = await readPods('echo');
    const addresses = (await Promise.all(['plain', 'prefer', 'require', 'only6'].map(service))).flatMap(
      (one) => one.addresses,
    );
    const names = new Set(pods.map(({ name }) => name));
    for (const from of pods.slice(0, 2)) {
      const seen = await askFromPod(
        from.name,
        addresses.map((ip) => url(ip, 80)),
      );
      for (const [index, { peer, server }] of seen.entries()) {
        assert.ok(names.has(server), `${from.name} asked ${addresses[index]}`);
        // Only a pod that reaches itself through its Service is seen by another address.
        if (server !== from.name) assert.equal(peer, ofFamily(from.ips, familyOfText(addresses[index] ?? '')));
      }
    }
    for (const node of nodes)
      for (const { server } of await askFromNode(
        node,
        addresses.map((ip) => url(ip, 80)),
      ))
        assert.ok(names.has(server), node);
  });

  test('a Service becomes dual-stack and single-stack again', async () => {
    const [before = ''] = (await service('plain')).addresses;
    await kubectl('patch', 'service', 'plain', '-p', '{"spec":{"ipFamilyPolicy":"PreferDualStack"}}');
    const { addresses } = await service('plain');
    assert.deepEqual(addresses.map(familyOfText), families);
    assert.equal(addresses[0], before);
    const [client] = await readPods('echo');
    await until(
      'the second address',
      async () => (await askFromPod(client?.name ?? '', [url(addresses[1] ?? '', 80)]))[0]?.server !== '',
      10,
    );
    await kubectl('patch', 'service', 'plain', '-p', '{"spec":{"ipFamilyPolicy":"SingleStack"}}');
    assert.deepEqual((await service('plain')).addresses, [before]);
  });

  test('names have the addresses that their Services have, in both directions', async () => {
    const [client] = await readPods('echo');
    const lookup = async (...args: string[]): Promise<string> =>
      (await run('kubectl', ['exec', client?.name ?? '', '--', 'nslookup', ...args])).stdout;
    const addresses = async (type: string, name: string): Promise<string[]> =>
      [...(await lookup(`-type=${type}`, `${name}.default.svc.cluster.local.`)).matchAll(/^Address: (\S+)$/gm)]
        .map((match) => match[1] ?? '')
        .sort();
    const prefer = (await service('prefer')).addresses;
    assert.deepEqual(await addresses('a', 'prefer'), prefer.slice(0, 1));
    assert.deepEqual(await addresses('aaaa', 'prefer'), prefer.slice(1));
    assert.deepEqual(await addresses('a', 'only6'), []);
    assert.deepEqual(await addresses('aaaa', 'only6'), (await service('only6')).addresses);
    const pods = await readPods('echo');
    assert.deepEqual(await addresses('a', 'headless'), pods.map(({ ips }) => ofFamily(ips, 'IPv4')).sort());
    assert.deepEqual(await addresses('aaaa', 'headless'), pods.map(({ ips }) => ofFamily(ips, 'IPv6')).sort());
    for (const ip of prefer) assert.match(await lookup(ip), /name = prefer\.default\.svc\.cluster\.local/);
    const over6 = await lookup('prefer.default.svc.cluster.local.', 'fd00:10:96::a');
    assert.ok(over6.includes(`Address: ${prefer[1]}`), over6);
  });

  test('a NodePort answers at every address of every node, and at 127.0.0.1 and ::1 of the host, as the API does', async () => {
    const addresses = (await Promise.all(nodes.map(nodeAddresses))).flat();
    for (const node of nodes)
      for (const [index, { server }] of (
        await askFromNode(
          node,
          addresses.map((ip) => url(ip, 30281)),
        )
      ).entries())
        assert.match(server, /^echo-/, `${node} asked ${addresses[index]}`);
    const status = JSON.parse((await weft('status', '--name', cluster, '-o', 'json')).stdout) as {
      nodePorts: { service: string; hostPort: number }[];
    };
    const server = new URL(await kubectl('config', 'view', '--minify', '-o', 'jsonpath={.clusters[0].cluster.server}'));
    for (const host of hostLoopbacks())
      await kubectl('--server', `https://${urlHost(asIp(host))}:${server.port}`, 'version');
    for (const name of ['default/open', 'default/open6']) {
      const port = status.nodePorts.find((one) => one.service === name)?.hostPort ?? assert.fail(name);
      for (const host of hostLoopbacks()) assert.match(await (await fetch(url(host, port))).text(), /echo-/);
    }
  });

  test('a datagram of 64 KB arrives whole between nodes by both families, and the links of pods have the MTU of the LAN', async () => {
    const pods = await readPods('echo');
    const on = (node: string): TestPod => pods.find((pod) => pod.node === node) ?? assert.fail(node);
    const [here, there] = nodes.map(on);
    assert.ok(here && there);
    const server = await startDatagramServer(there, 9000);
    try {
      for (const ip of there.ips)
        assert.equal(await server.ask(here, ip, 65_000), `${ofFamily(here.ips, familyOfText(ip))} 65000 65000`);
    } finally {
      await server.stop();
    }
    const mtu = (await inNode(cluster, nodes[1], 'cat', '/sys/class/net/eth0/mtu')).trim();
    assert.equal((await kubectl('exec', there.name, '--', 'cat', '/sys/class/net/eth0/mtu')).trim(), mtu);
  });

  test("a node's link that went down and up again carries both families", async () => {
    await inNode(cluster, nodes[1], 'sh', '-c', 'ip link set eth0 down && ip link set eth0 up');
    const pods = await readPods('echo');
    const there = pods.find((pod) => pod.node === nodes[1]) ?? assert.fail('no pod');
    const urls = [
      ...(await nodeAddresses(nodes[1])).map((ip) => url(ip, 8081)),
      ...there.ips.map((ip) => url(ip, 8080)),
    ];
    const wanted = [nodes[1], nodes[1], there.name, there.name];
    await until(
      'the node and its pods',
      async () => (await askFromNode(nodes[0], urls)).map(({ server }) => server).join() === wanted.join(),
      10,
    );
  });

  test('families that cannot be are refused with the field and the reason', async () => {
    const refused = async (spec: object, says: RegExp): Promise<void> => {
      const object = {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'bad' },
        spec: { ports: [{ port: 80 }], ...spec },
      };
      const { code, stderr } = await kubectlWith(JSON.stringify(object), 'create', '-f', '-');
      assert.equal(code, 1);
      assert.match(stderr, says);
    };
    await refused(
      { ipFamilies: ['IPv4', 'IPv4'], ipFamilyPolicy: 'RequireDualStack' },
      /spec\.ipFamilies\[1\]: Duplicate value: "IPv4"/,
    );
    await refused({ ipFamilies: ['IPv5'] }, /spec\.ipFamilies\[0\]: (Unsupported|Invalid) value: "IPv5"/);
    await refused(
      { clusterIP: 'fd00:10:96::77', ipFamilies: ['IPv4'] },
      /spec\.clusterIPs\[0\]: Invalid value: "fd00:10:96::77"/,
    );
    await refused({ clusterIP: 'fd00:10:97::1' }, /fd00:10:97::1.*not in the valid range/);
  });
});
