// The rules of the IPVS mode: those of kube-proxy by their text, and how they come and go.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSave } from '../../linux/iptables-save.ts';
import { asCidr } from '../../net/address.ts';
import { ipvsChainNames, removal, restoration } from './rule-keeper.ts';
import { ipvsChains, type RuleOptions } from './rules.ts';

const options: RuleOptions = {
  family: 'IPv4',
  clusterCidrs: ['10.244.0.0/16', 'fd44::/16'].map(asCidr),
  serviceCidrs: ['10.96.0.0/16', 'fd96::/112'].map(asCidr),
  podCidrs: [asCidr('10.244.1.0/24')],
};
const rulesOf = (table: string, chain: string, part: Partial<RuleOptions> = {}): readonly string[] =>
  ipvsChains({ ...options, ...part })
    .find((one) => one.table === table)
    ?.chains.find(({ name }) => name === chain)?.rules ?? assert.fail(chain);

test('what comes from outside of the pods to a cluster address is masqueraded', () => {
  const text = '-m comment --comment "Kubernetes service cluster ip + port for masquerade purpose"';
  const rules = (clusterCidrs: string[]) =>
    rulesOf('nat', 'KUBE-SERVICES', { clusterCidrs: clusterCidrs.map(asCidr) }).filter((rule) =>
      rule.includes('CLUSTER-IP'),
    );
  assert.equal(
    rules(['10.244.0.0/16'])[0],
    `${text} -m set --match-set KUBE-CLUSTER-IP dst,dst ! -s 10.244.0.0/16 -j KUBE-MARK-MASQ`,
  );
  assert.equal(rules([])[0], `${text} -m set --match-set KUBE-CLUSTER-IP src,dst -j KUBE-MARK-MASQ`);
  assert.deepEqual(rules(['10.244.0.0/16', '10.245.0.0/16']).slice(0, 3), [
    '-m set --match-set KUBE-CLUSTER-IP dst,dst -s 10.244.0.0/16 -j ACCEPT',
    '-m set --match-set KUBE-CLUSTER-IP dst,dst -s 10.245.0.0/16 -j ACCEPT',
    `${text} -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ`,
  ]);
});

test('the chains of masquerading are those of kube-proxy', () => {
  assert.deepEqual(rulesOf('nat', 'KUBE-POSTROUTING'), [
    '-m comment --comment "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose" -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE --random-fully',
    '-m mark ! --mark 0x4000/0x4000 -j RETURN',
    '-j MARK --xor-mark 0x4000',
    '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
  ]);
  assert.deepEqual(rulesOf('nat', 'KUBE-MARK-MASQ'), ['-j MARK --or-mark 0x4000']);
  assert.ok(
    rulesOf('nat', 'KUBE-NODE-PORT').includes(
      '-m comment --comment "Kubernetes nodeport TCP port for masquerade purpose" -m tcp -p tcp -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ',
    ),
  );
});

test('ports of the node are not reached under the addresses of Services', () => {
  assert.deepEqual(rulesOf('filter', 'KUBE-IPVS-FILTER'), [
    '-m set --match-set KUBE-LOAD-BALANCER dst,dst -j RETURN',
    '-m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN',
    '-m set --match-set KUBE-EXTERNAL-IP dst,dst -j RETURN',
    '-m set --match-set KUBE-EXTERNAL-IP-LOCAL dst,dst -j RETURN',
    '-m set --match-set KUBE-HEALTH-CHECK-NODE-PORT dst -j RETURN',
    '-m conntrack --ctstate NEW -m set --match-set KUBE-IPVS-IPS dst -j REJECT',
  ]);
});

test('visitors under the policy Local are masqueraded: the node itself and pods of other nodes, not its own', () => {
  assert.deepEqual(rulesOf('nat', 'WEFT-VISITORS'), [
    '-m addrtype --src-type LOCAL -j KUBE-MARK-MASQ',
    '-s 10.244.1.0/24 -j RETURN',
    '-s 10.244.0.0/16 -j KUBE-MARK-MASQ',
  ]);
});

test('addresses of the ranges of Services that nobody has are dropped; those of IPv6 by sets of their own', () => {
  assert.ok(
    rulesOf('mangle', 'WEFT-SERVICES').includes(
      '-d 10.96.0.0/16 -m set ! --match-set KUBE-IPVS-IPS dst -m addrtype ! --dst-type LOCAL -j DROP',
    ),
  );
  assert.ok(
    rulesOf('mangle', 'WEFT-SERVICES', { family: 'IPv6' }).includes(
      '-d fd96::/112 -m set ! --match-set KUBE-6-IPVS-IPS dst -m addrtype ! --dst-type LOCAL -j DROP',
    ),
  );
});

test('a way into a chain is written where it is missing, and only there', () => {
  const saved = readSave(
    '*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES\nCOMMIT\n',
  );
  const nat = restoration(ipvsChains(options), saved).find(({ table }) => table === 'nat');
  assert.deepEqual(
    nat?.prepended?.map(({ chain }) => chain),
    ['OUTPUT', 'POSTROUTING'],
  );
});

test('what is taken out are chains of ours, not those that another mode has made its own, and no foreign rule', () => {
  const foreign = '-A INPUT -s 192.0.2.1/32 -j DROP';
  const text = [
    '*mangle',
    ...[':OUTPUT ACCEPT [0:0]', ':WEFT-SERVICES - [0:0]', '-A OUTPUT -j WEFT-SERVICES', 'COMMIT', '*filter'],
    ...[':INPUT ACCEPT [0:0]', ':KUBE-IPVS-FILTER - [0:0]', ':KUBE-FORWARD - [0:0]', '-A INPUT -j KUBE-IPVS-FILTER'],
    ...[foreign, 'COMMIT', ''],
  ].join('\n');
  const changes = removal(readSave(text), new Set(['filter KUBE-FORWARD']));
  assert.deepEqual(changes, [
    {
      table: 'filter',
      chains: [],
      removed: [{ chain: 'INPUT', rule: '-j KUBE-IPVS-FILTER' }],
      deleted: ['KUBE-IPVS-FILTER'],
    },
    {
      table: 'mangle',
      chains: [],
      removed: [{ chain: 'OUTPUT', rule: '-j WEFT-SERVICES' }],
      deleted: ['WEFT-SERVICES'],
    },
  ]);
  const kubeProxys = readSave('*filter\n:KUBE-IPVS-FILTER - [0:0]\nCOMMIT\n');
  assert.deepEqual(removal(kubeProxys, new Set()), []);
  assert.ok(ipvsChainNames.has('nat KUBE-SERVICES'));
});
