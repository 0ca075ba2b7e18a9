// Virtual servers and IP sets in a kernel that has them; run in a virtual machine by ipvs.test.ts.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ipvsSchedulers } from '../../src/k8s/network-config.ts';
import { type IpsetElement, Ipsets, type IpsetType } from '../../src/linux/ipset.ts';
import { Ipvs, type VirtualServer } from '../../src/linux/ipvs.ts';
import { changeLink } from '../../src/linux/links.ts';
import { Netlink } from '../../src/linux/netlink.ts';
import { createNamedNetns, deleteNamedNetns, netnsPath } from '../../src/linux/netns.ts';
import { asCidr, asIp, type Family, type Port, parsePort } from '../../src/net/address.ts';

function port(number: number): Port {
  const valid = parsePort(number);
  assert.ok(valid);
  return valid;
}

const netns = netnsPath('ipvs');
before(() => {
  createNamedNetns('ipvs');
  // IPVS asks the table of local addresses, which is there with the first of them.
  using links = Netlink.open(netns);
  changeLink(links, 1, { up: true });
});
after(() => deleteNamedNetns('ipvs'));

describe('virtual servers', () => {
  let ipvs: Ipvs;
  before(() => {
    const found = Ipvs.open(netns);
    assert.ok(found);
    ipvs = found;
  });
  after(() => ipvs.close());

  for (const [address, real, other] of [
    ['10.96.0.1', '10.244.1.2', '10.244.1.3'],
    ['fd96::1', 'fd44::2', 'fd44::3'],
  ] as const)
    test(`are made, changed, listed and deleted: ${address}`, () => {
      const server: VirtualServer = { address: asIp(address), protocol: 'tcp', port: port(80), scheduler: 'rr' };
      ipvs.addServer(server);
      assert.deepEqual(ipvs.servers(), [server]);
      assert.throws(() => ipvs.addServer(server), { code: 'EEXIST' });
      const sticky: VirtualServer = { ...server, scheduler: 'mh', persistentSeconds: 600, hashPort: true };
      ipvs.changeServer(sticky);
      assert.deepEqual(ipvs.server(server), sticky);

      ipvs.setReal(server, { ip: asIp(real), port: port(8080), weight: 1 });
      ipvs.setReal(server, { ip: asIp(other), port: port(8080), weight: 3 });
      ipvs.setReal(server, { ip: asIp(real), port: port(8080), weight: 0 });
      const traffic = { connections: 0, packets: 0 };
      const unused = { traffic, activeConnections: 0, inactiveConnections: 0, persistentConnections: 0 };
      assert.deepEqual(
        ipvs.reals(server).sort((a, b) => (a.ip < b.ip ? -1 : 1)),
        [
          { ip: real, port: 8080, weight: 0, ...unused },
          { ip: other, port: 8080, weight: 3, ...unused },
        ],
      );
      assert.equal(ipvs.deleteReal(server, { ip: asIp(real), port: port(8080) }), true);
      assert.equal(ipvs.deleteReal(server, { ip: asIp(real), port: port(8080) }), false);
      assert.equal(ipvs.reals(server).length, 1);

      assert.equal(ipvs.deleteServer(server), true);
      assert.equal(ipvs.deleteServer(server), false);
      assert.equal(ipvs.server(server), undefined);
      assert.deepEqual(ipvs.reals(server), []);
    });

  test('every scheduler is known to the kernel, for every protocol', () => {
    for (const scheduler of ipvsSchedulers)
      for (const protocol of ['tcp', 'udp', 'sctp'] as const) {
        const server: VirtualServer = { address: asIp('10.96.0.2'), protocol, port: port(80), scheduler };
        ipvs.addServer(server);
        assert.deepEqual(ipvs.server(server), server);
        ipvs.deleteServer(server);
      }
  });

  test('a list longer than one datagram is read whole', () => {
    const all = Array.from({ length: 600 }, (_, index): VirtualServer => {
      return { address: asIp('10.96.0.3'), protocol: 'tcp', port: port(index + 1), scheduler: 'rr' };
    });
    for (const server of all) ipvs.addServer(server);
    assert.equal(ipvs.servers().length, 600);
    for (const server of all) ipvs.deleteServer(server);
    assert.deepEqual(ipvs.servers(), []);
  });
});

describe('IP sets', () => {
  let sets: Ipsets;
  before(() => {
    const found = Ipsets.open(netns);
    assert.ok(found);
    sets = found;
  });
  after(() => sets.close());

  const four = asIp('10.96.0.1');
  const six = asIp('fd96::1');
  const http = port(80);
  const cases: readonly [IpsetType, Family, IpsetElement][] = [
    ['hash:ip', 'IPv4', { ip: four }],
    ['hash:ip', 'IPv6', { ip: six }],
    ['hash:ip,port', 'IPv4', { ip: four, port: http, protocol: 'sctp' }],
    ['hash:ip,port', 'IPv6', { ip: six, port: http, protocol: 'udp' }],
    ['hash:ip,port,ip', 'IPv4', { ip: four, port: http, protocol: 'tcp', ip2: asIp('10.244.1.2') }],
    ['hash:ip,port,ip', 'IPv6', { ip: six, port: http, protocol: 'tcp', ip2: asIp('fd44::2') }],
    ['hash:ip,port,net', 'IPv4', { ip: four, port: http, protocol: 'tcp', net: asCidr('10.0.0.0/8') }],
    ['hash:ip,port,net', 'IPv6', { ip: six, port: http, protocol: 'tcp', net: asCidr('fd00::/8') }],
    ['bitmap:port', 'IPv4', { port: http }],
    ['bitmap:port', 'IPv6', { port: http }],
  ];
  for (const [type, family, element] of cases)
    test(`of the type ${type}, ${family}, are made, filled, listed and deleted`, () => {
      const set = { name: 'KUBE-TEST', type, family };
      assert.equal(sets.count(set.name), undefined);
      assert.equal(sets.elements(set), undefined);
      sets.create(set);
      sets.create(set);
      sets.add(set.name, element);
      sets.add(set.name, element);
      assert.deepEqual(sets.elements(set), [element]);
      assert.equal(sets.count(set.name), 1);
      sets.delete(set.name, element);
      sets.delete(set.name, element);
      assert.equal(sets.count(set.name), 0);
      assert.equal(sets.destroy(set.name), true);
      assert.equal(sets.destroy(set.name), false);
    });

  test('of more elements than one datagram holds are listed whole', () => {
    const set = { name: 'KUBE-LARGE', type: 'hash:ip,port', family: 'IPv4' } as const;
    sets.create(set);
    const elements = Array.from(
      { length: 300 },
      (_, index) => ({ ip: four, port: port(index + 1), protocol: 'tcp' }) as const,
    );
    for (const element of elements) sets.add(set.name, element);
    assert.equal(sets.elements(set)?.length, 300);
    sets.destroy(set.name);
  });

  test('are exchanged whole, and one of another type is not taken for the set that is asked for', () => {
    const a = { name: 'KUBE-A', type: 'hash:ip', family: 'IPv4' } as const;
    sets.create(a);
    sets.create({ ...a, name: 'KUBE-B' });
    sets.add('KUBE-B', { ip: four });
    sets.swap('KUBE-A', 'KUBE-B');
    assert.deepEqual(sets.elements(a), [{ ip: four }]);
    assert.equal(sets.elements({ name: 'KUBE-A', type: 'hash:ip,port' }), undefined);
    assert.throws(() => sets.add('KUBE-A', { port: http }), /taking|adding 80 to the set KUBE-A/);
    for (const name of ['KUBE-A', 'KUBE-B']) sets.destroy(name);
  });
});
