// Links, addresses, routes and neighbours against the real kernel, each test in namespaces of its own.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { afterEach, test } from 'node:test';
import { deleteAddress, listAddresses, replaceAddress } from '../../src/linux/addresses.ts';
import { setPort } from '../../src/linux/bridge-port.ts';
import { failedWith } from '../../src/linux/libc.ts';
import { changeLink, createBridge, createVeth, deleteLink, findLink, listLinks } from '../../src/linux/links.ts';
import { deleteNeighbour, listNeighbours, replaceNeighbour } from '../../src/linux/neighbours.ts';
import { Netlink } from '../../src/linux/netlink.ts';
import { type MonitorEvent, monitorNetlink, routeGroup } from '../../src/linux/netlink-monitor.ts';
import {
  createNamedNetns,
  deleteNamedNetns,
  inNetns,
  isNetns,
  listNamedNetns,
  netnsIdentity,
  netnsPath,
  sysctl,
} from '../../src/linux/netns.ts';
import { deleteRoute, deleteRoutesOf, listRoutes, protocol, replaceRoute } from '../../src/linux/routes.ts';
import { asCidr, asIp, type Mac } from '../../src/net/address.ts';

const made: string[] = [];
afterEach(() => {
  for (const name of made.splice(0)) deleteNamedNetns(name);
});

function namespace(): string {
  const name = `wt-${process.pid.toString(36)}-${made.length}${Math.random().toString(36).slice(2, 6)}`;
  createNamedNetns(name);
  made.push(name);
  return name;
}

test('a named namespace can be listed, entered, left and deleted', () => {
  const before = netnsIdentity('/proc/thread-self/ns/net');
  const name = namespace();
  assert.ok(listNamedNetns().includes(name));
  assert.ok(isNetns(netnsPath(name)));
  const inside = inNetns(netnsPath(name), () => netnsIdentity('/proc/thread-self/ns/net'));
  assert.notEqual(inside, before);
  assert.equal(netnsIdentity('/proc/thread-self/ns/net'), before);
  assert.throws(() => createNamedNetns(name), /EEXIST/);
  assert.equal(deleteNamedNetns(name), true);
  assert.equal(deleteNamedNetns(name), false);
  assert.ok(!existsSync(netnsPath(name)));
});

test('a file that is no namespace is not one', () => {
  assert.equal(isNetns('/proc/self/status'), false);
  assert.equal(isNetns('/proc/self/ns/uts'), false);
  assert.equal(isNetns('/nowhere'), false);
});

test('work that throws inside of a namespace brings the thread back', () => {
  const before = netnsIdentity('/proc/thread-self/ns/net');
  assert.throws(() =>
    inNetns(netnsPath(namespace()), () => {
      throw new Error('within');
    }),
  );
  assert.equal(netnsIdentity('/proc/thread-self/ns/net'), before);
});

test('a sysctl is set in the namespace alone', () => {
  const path = netnsPath(namespace());
  const file = '/proc/sys/net/ipv4/ip_default_ttl';
  const outside = readFileSync(file, 'utf8');
  sysctl(path, 'net.ipv4.ip_default_ttl', '33');
  assert.equal(
    inNetns(path, () => readFileSync(file, 'utf8').trim()),
    '33',
  );
  assert.equal(readFileSync(file, 'utf8'), outside);
});

test('a veth pair is made with its peer in another namespace, on a bridge with hairpin', () => {
  const [node, pod] = [namespace(), namespace()];
  using nl = Netlink.open(netnsPath(node));
  using inside = Netlink.open(netnsPath(pod));
  createBridge(nl, { name: 'br0', mtu: 1400, mac: '0a:58:0a:00:00:01' as Mac, up: true });
  const bridge = findLink(nl, 'br0');
  assert.deepEqual([bridge?.kind, bridge?.mac, bridge?.mtu, bridge?.up], ['bridge', '0a:58:0a:00:00:01', 1400, true]);
  const fd = openSync(netnsPath(pod), 'r');
  createVeth(
    nl,
    { name: 'v0', mtu: 1400, master: bridge?.index ?? 0, up: true },
    { name: 'eth0', mac: '0a:58:0a:00:00:02' as Mac, mtu: 1400, netns: fd },
  );
  closeSync(fd);
  const port = findLink(nl, 'v0');
  assert.deepEqual([port?.kind, port?.master, port?.hairpin], ['veth', bridge?.index, false]);
  setPort(nl, port?.index ?? 0, { hairpin: true, learning: false });
  assert.equal(findLink(nl, 'v0')?.hairpin, true);
  const peer = findLink(inside, 'eth0');
  assert.deepEqual([peer?.mac, peer?.mtu, peer?.up], ['0a:58:0a:00:00:02', 1400, false]);
  changeLink(inside, peer?.index ?? 0, { up: true, mtu: 1300 });
  assert.equal(findLink(inside, 'eth0')?.mtu, 1300);
  assert.throws(
    () => createBridge(nl, { name: 'v0' }),
    (error) => failedWith(error, 'EEXIST'),
  );
  assert.equal(deleteLink(nl, 'v0'), true);
  assert.equal(deleteLink(nl, 'v0'), false);
  assert.deepEqual(
    listLinks(inside).map(({ name }) => name),
    ['lo'],
  );
});

test('addresses and routes of both families come back as they were written', () => {
  using nl = Netlink.open(netnsPath(namespace()));
  createBridge(nl, { name: 'br0', up: true });
  const link = findLink(nl, 'br0')?.index ?? 0;
  const four = { link, address: asIp('10.1.0.1'), prefix: 24 };
  const six = { link, address: asIp('fd00:1::1'), prefix: 64 };
  for (const entry of [four, six, four]) replaceAddress(nl, entry);
  const own = listAddresses(nl, link).filter(({ address }) => !address.startsWith('fe80:'));
  assert.deepEqual(own, [four, six]);
  const route4 = { to: asCidr('10.2.0.0/16'), via: asIp('10.1.0.9'), link, table: 254, protocol: 118 };
  const route6 = { to: asCidr('fd00:2::/64'), via: asIp('fd00:1::9'), link, table: 254, protocol: 118, metric: 1024 };
  for (const route of [route4, route6]) replaceRoute(nl, route);
  assert.deepEqual(listRoutes(nl, { protocol: 118 }), [route4, route6]);
  replaceRoute(nl, { ...route4, via: asIp('10.1.0.8') });
  assert.deepEqual(listRoutes(nl, { protocol: 118, family: 'IPv4' }), [{ ...route4, via: '10.1.0.8' }]);
  assert.equal(deleteRoute(nl, { ...route4, via: asIp('10.1.0.8') }), true);
  assert.equal(deleteRoute(nl, route4), false);
  assert.equal(deleteAddress(nl, six), true);
  assert.equal(deleteAddress(nl, six), false);
});

test('an unreachable route refuses what no longer prefix takes, and is listed where it is asked for', () => {
  const netns = namespace();
  using nl = Netlink.open(netnsPath(netns));
  const ranges = ['10.5.0.0/16', 'fd05::/48'].map(asCidr);
  const routes = ranges.map((to) => ({ to, unreachable: true, metric: 0xffffffff, protocol: 118, table: 254 }));
  for (const route of routes) replaceRoute(nl, route);
  const found = listRoutes(nl, { protocol: 118, unreachable: true });
  assert.deepEqual(
    found.map(({ to, unreachable, metric }) => ({ to, unreachable, metric })),
    ranges.map((to) => ({ to, unreachable: true, metric: 0xffffffff })),
  );
  assert.deepEqual(listRoutes(nl, { protocol: 118 }), []);
  for (const route of routes) assert.equal(deleteRoute(nl, route), true);
  assert.deepEqual(listRoutes(nl, { protocol: 118, unreachable: true }), []);
});

test('the routes of one protocol are deleted, those without a next hop too, and the others stay', () => {
  const name = namespace();
  using nl = Netlink.open(netnsPath(name));
  changeLink(nl, 1, { up: true });
  for (const [to, who] of [
    ['10.1.0.0/24', 12],
    ['10.2.0.0/24', 118],
    ['fd01::/64', 12],
  ] as const)
    replaceRoute(nl, { to: asCidr(to), link: 1, protocol: who, metric: 32 });
  for (const family of ['-4', '-6'])
    inNetns(netnsPath(name), () =>
      spawnSync('ip', [
        family,
        'route',
        'add',
        'unreachable',
        family === '-4' ? '10.3.0.0/24' : 'fd03::/64',
        'proto',
        '12',
      ]),
    );
  assert.equal(deleteRoutesOf(nl, 12), 4);
  assert.deepEqual(
    listRoutes(nl, { protocol: 118 }).map(({ to }) => to),
    ['10.2.0.0/24'],
  );
  assert.equal(deleteRoutesOf(nl, 12), 0);
});

test('an address without a route of its prefix leaves the routes alone', () => {
  using nl = Netlink.open(netnsPath(namespace()));
  createBridge(nl, { name: 'br0', up: true });
  const link = findLink(nl, 'br0')?.index ?? 0;
  replaceAddress(nl, { link, address: asIp('10.1.0.1'), prefix: 24 }, { prefixRoute: false });
  assert.deepEqual(listRoutes(nl, { family: 'IPv4' }), []);
});

test('a permanent neighbour can be set, read and deleted', () => {
  using nl = Netlink.open(netnsPath(namespace()));
  createBridge(nl, { name: 'br0', up: true });
  const link = findLink(nl, 'br0')?.index ?? 0;
  const entry = { link, address: asIp('10.1.0.9'), mac: '0a:58:0a:01:00:09' as Mac };
  replaceNeighbour(nl, entry);
  assert.deepEqual(
    listNeighbours(nl).filter(({ address }) => address === entry.address),
    [{ ...entry, permanent: true }],
  );
  assert.equal(deleteNeighbour(nl, entry), true);
  assert.equal(deleteNeighbour(nl, entry), false);
});

test('a refusal names what was done, the reason of the kernel, and its errno', () => {
  using nl = Netlink.open(netnsPath(namespace()));
  changeLink(nl, 1, { up: true });
  const route = { to: asCidr('10.9.0.0/16'), via: asIp('192.0.2.1'), protocol: protocol.boot };
  assert.throws(() => replaceRoute(nl, route), /10\.9\.0\.0\/16 via 192\.0\.2\.1: .*gateway.*ENETUNREACH/);
});

test('more links than fit into one answer are all listed', () => {
  using nl = Netlink.open(netnsPath(namespace()));
  for (let number = 0; number < 100; number++) createBridge(nl, { name: `br${number}` });
  assert.equal(listLinks(nl).length, 101);
});

test('a monitor tells of links, addresses and routes as they change, and of nothing after its end', async () => {
  const path = netnsPath(namespace());
  using nl = Netlink.open(path);
  const types = new Set<number>();
  const { promise, resolve } = Promise.withResolvers<void>();
  const groups = [routeGroup.link, routeGroup.ipv4Address, routeGroup.ipv4Route];
  const end = monitorNetlink({ groups, netns: path }, (event: MonitorEvent) => {
    if (event.type === 'messages') for (const { type } of event.messages) types.add(type);
    if ([16, 20, 24].every((type) => types.has(type))) resolve();
  });
  createBridge(nl, { name: 'br0', up: true });
  const link = findLink(nl, 'br0')?.index ?? 0;
  replaceAddress(nl, { link, address: asIp('10.1.0.1'), prefix: 24 });
  replaceRoute(nl, { to: asCidr('10.2.0.0/16'), via: asIp('10.1.0.9'), protocol: protocol.boot });
  await promise;
  end();
  end();
});
