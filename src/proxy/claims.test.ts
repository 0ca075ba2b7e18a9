import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { asIp, type Ip, type Port } from '../net/address.ts';
import { Claims } from './claims.ts';
import { modelOf, port } from './fixtures.ts';
import { type ServicePortModel, serviceAddresses, serviceAddressKey } from './service-port.ts';

const model = (name: string, clusterIp: string, part: Partial<ServicePortModel> = {}): ServicePortModel =>
  modelOf([], { name: { namespace: 'default', name, port: '' }, clusterIp: asIp(clusterIp), ...part });
const node = { nodePortAddresses: [asIp('172.18.0.2')] };
const shown = (models: readonly ServicePortModel[] | undefined): string =>
  (models ?? []).flatMap((one) => serviceAddresses(one, node).map(({ address }) => address)).join(' ');
const external = [asIp('192.0.2.1')];

/** Claims that know the models of all Services, as the proxy does. */
function newClaims(): Pick<Claims, 'set'> {
  const known = new Map<string, readonly ServicePortModel[]>();
  const claims = new Claims(
    () => node,
    (owner) => known.get(owner) ?? [],
  );
  return {
    set(owner, models) {
      known.set(owner, models);
      return claims.set(owner, models);
    },
  };
}

test('of two Services that claim an external IP with a port the first by name has it, and the other one after it', () => {
  const claims = newClaims();
  assert.equal(
    shown(claims.set('default/b', [model('b', '10.96.0.2', { externalIps: external })]).get('default/b')),
    '10.96.0.2 192.0.2.1',
  );
  const both = claims.set('default/a', [model('a', '10.96.0.1', { externalIps: external })]);
  assert.deepEqual([shown(both.get('default/a')), shown(both.get('default/b'))], ['10.96.0.1 192.0.2.1', '10.96.0.2']);
  assert.equal(shown(claims.set('default/a', []).get('default/b')), '10.96.0.2 192.0.2.1');
});

test('nobody takes the cluster address of another Service by an external IP, nor the address of a balancer', () => {
  const claims = newClaims();
  const thief = [model('a', '10.96.0.1', { externalIps: ['10.96.0.2', '192.0.2.9'].map(asIp) })];
  claims.set('default/a', thief);
  const changed = claims.set('default/b', [model('b', '10.96.0.2', { loadBalancerIps: [asIp('192.0.2.9')] })]);
  assert.equal(shown(changed.get('default/a')), '10.96.0.1');
  assert.equal(shown(changed.get('default/b')), '10.96.0.2 192.0.2.9');
});

test('other ports and protocols of an address are no conflict', () => {
  const claims = newClaims();
  claims.set('default/a', [model('a', '10.96.0.1', { externalIps: external })]);
  for (const part of [{ port: port(81) }, { protocol: 'UDP' as const }]) {
    const changed = claims.set('default/b', [model('b', '10.96.0.2', { externalIps: external, ...part })]);
    assert.deepEqual([...changed.keys()], ['default/b']);
    assert.equal(shown(changed.get('default/b')), '10.96.0.2 192.0.2.1');
  }
});

test('whatever comes and goes, each address has exactly one Service, the same one in whatever order they came', () => {
  const step = fc.record({
    owner: fc.constantFrom('n/a', 'n/b', 'n/c', 'n/d'),
    addresses: fc.subarray(['192.0.2.1', '192.0.2.2', '10.96.0.1', '10.96.0.2'].map(asIp)),
    isBalancer: fc.boolean(),
    nodePort: fc.constantFrom(undefined, port(30_001), port(30_002)),
    isGone: fc.boolean(),
  });
  const own: Readonly<Record<string, string>> = {
    'n/a': '10.96.0.1',
    'n/b': '10.96.0.2',
    'n/c': '10.96.0.3',
    'n/d': '10.96.0.4',
  };
  const models = ({
    owner,
    addresses,
    isBalancer,
    nodePort,
    isGone,
  }: {
    owner: string;
    addresses: Ip[];
    isBalancer: boolean;
    nodePort: Port | undefined;
    isGone: boolean;
  }) =>
    isGone
      ? []
      : [
          model(owner, own[owner] ?? '', {
            ...(isBalancer ? { loadBalancerIps: addresses } : { externalIps: addresses }),
            ...(nodePort !== undefined && { nodePort }),
          }),
        ];
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const follow = (all: typeof steps): Map<string, string> => {
        const claims = newClaims();
        const granted = new Map<string, readonly ServicePortModel[]>();
        for (const one of all) for (const [owner, now] of claims.set(one.owner, models(one))) granted.set(owner, now);
        const holders = new Map<string, string>();
        for (const [owner, now] of granted)
          for (const one of now)
            for (const key of new Set(serviceAddresses(one, node).map(serviceAddressKey))) {
              assert.equal(holders.get(key), undefined, `${key} twice`);
              holders.set(key, owner);
            }
        return holders;
      };
      const last = new Map(steps.map((one) => [one.owner, one]));
      const direct = follow([...last.values()].reverse());
      assert.deepEqual([...follow(steps)].sort(), [...direct].sort());
    }),
  );
});
