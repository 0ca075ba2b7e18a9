// The three rules of the Kubernetes network model, over all pairs of pods and nodes, in both families.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { EchoServer, seenAs } from './echo.ts';
import { addressOf, Lab, runIn } from './lab.ts';

const lab = new Lab({ clusterCidrs: ['10.244.0.0/16', 'fd00:10::/48'] });
const servers: EchoServer[] = [];
/** Every place that has an address: what its namespace is, and its addresses by family. */
const places: { what: string; netns: string; node: number; ips: Record<4 | 6, string> }[] = [];

before(async () => {
  const nodes = [
    lab.addNode(['10.244.1.0/24', 'fd00:10:0:1::/64']),
    lab.addNode(['10.244.2.0/24', 'fd00:10:0:2::/64']),
  ];
  await lab.start();
  for (const [number, node] of nodes.entries()) {
    const [four = '', six = ''] = node.addresses;
    places.push({ what: `node ${number}`, netns: node.netns, node: number, ips: { 4: four, 6: six } });
    for (const name of ['a', 'b']) {
      const pod = lab.addPod();
      const result = await lab.add(node, `pod-${number}${name}`, pod.path);
      const ips = { 4: addressOf(result, 4), 6: addressOf(result, 6) };
      places.push({ what: `pod ${name} of node ${number}`, netns: pod.name, node: number, ips });
    }
  }
  servers.push(...(await Promise.all(places.map(({ netns }) => EchoServer.start(netns)))));
});

after(async () => {
  for (const server of servers) server[Symbol.dispose]();
  await lab[Symbol.asyncDispose]();
});

for (const family of [4, 6] as const)
  test(`IPv${family}: every pod reaches every pod and node, every node every pod, each under its own address`, () => {
    for (const from of places)
      for (const to of places) {
        if (from === to || (from.what.startsWith('node') && to.what.startsWith('node'))) continue;
        const seen = seenAs(from.netns, to.ips[family]);
        // A node speaks to its own pods by the bridge's address, which is one of its own too.
        if (from.what.startsWith('node') && from.node === to.node) continue;
        assert.equal(seen, from.ips[family], `${from.what} to ${to.what}`);
      }
  });

test('UDP keeps addresses as well', () => {
  const [, a] = places;
  const far = places.find(({ what }) => what === 'pod b of node 1');
  assert.ok(a && far);
  for (const family of [4, 6] as const) assert.equal(seenAs(a.netns, far.ips[family], 'udp'), a.ips[family]);
});

test('pods of one node go on reaching one another through the node: a pod follows no redirect to a shorter way', () => {
  const [, a, b] = places;
  assert.ok(a && b);
  for (const family of [4, 6] as const) {
    // The node has been through these packets and would have told of the way by now.
    seenAs(a.netns, b.ips[family]);
    assert.match(runIn(a.netns, 'ip', `-${family}`, 'route', 'get', b.ips[family]), / via /);
  }
});

test('a pod has the address inside that the world sees, and the MTU of the underlay', () => {
  const pod = places[1];
  assert.ok(pod);
  const shown: [{ mtu: number; addr_info: { local: string; prefixlen: number; family: string }[] }] = JSON.parse(
    runIn(pod.netns, 'ip', '-j', 'address', 'show', 'dev', 'eth0'),
  );
  const own = shown[0].addr_info.filter(({ local }) => !local.startsWith('fe80:'));
  assert.deepEqual(
    own.map(({ local }) => local),
    [pod.ips[4], pod.ips[6]],
  );
  assert.equal(shown[0].mtu, 1500);
});

test('the node forwards and knows one route for each other node', () => {
  const node = places[0];
  assert.ok(node);
  assert.equal(runIn(node.netns, 'cat', '/proc/sys/net/ipv4/ip_forward').trim(), '1');
  assert.match(runIn(node.netns, 'ip', 'route'), /10\.244\.2\.0\/24 via 172\.18\.0\.3 dev eth0 proto 118/);
});

test('a pod answers a ping from another node', () => {
  const [node] = places;
  const far = places.find(({ what }) => what === 'pod a of node 1');
  assert.ok(node && far);
  assert.match(runIn(node.netns, 'busybox', 'ping', '-c', '1', '-W', '2', far.ips[4]), /1 packets received/);
});
