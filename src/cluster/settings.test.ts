// Tests of the rules that a cluster's settings keep.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkName, decideSettings, readGivenSettings, settingsInConflict } from './settings.ts';
import { SettingsError } from './settings-error.ts';

const refused = (given: object, says: RegExp): void =>
  assert.throws(
    () => decideSettings(given),
    (error) => error instanceof SettingsError && says.test(error.message) && !error.message.includes('\n'),
  );

test('without any setting there are three nodes with the usual ranges', () => {
  assert.deepEqual(decideSettings({}), {
    name: 'weft',
    nodes: 3,
    members: [0, 1, 2],
    fabric: 'host-gw',
    crossSubnet: false,
    encrypt: false,
    underlaySubnets: 1,
    nodePortRange: { from: 30_000, to: 32_767 },
    proxyMode: 'nftables',
    ipvsScheduler: 'rr',
    lbPool: '172.18.250.1-172.18.250.254',
    externalIps: false,
    dnsUpstreams: [],
    podCidrs: ['10.244.0.0/16'],
    serviceCidrs: ['10.96.0.0/16'],
    underlay: ['172.18.0.0/16'],
    offline: false,
  });
});

test('numbers and choices outside of their range are refused', () => {
  refused({ nodes: 0 }, /--nodes 0: must be from 1 to 100/);
  refused({ nodes: 'three' }, /'three'/);
  refused({ apiPort: '70000' }, /'70000'/);
  refused({ fabric: 'ipip' }, /--fabric 'ipip': there is host-gw, router, vxlan, bgp/);
  refused({ fabric: 'host-gw', underlaySubnets: 2 }, /needs all nodes on one subnet/);
  refused({ proxyMode: 'userspace' }, /--proxy-mode 'userspace': there is nftables, iptables, ipvs/);
  refused({ proxyMode: 'ipvs', ipvsScheduler: 'best' }, /--ipvs-scheduler 'best': there is rr, wrr, lc/);
  refused({ ipvsScheduler: 'lc' }, /--ipvs-scheduler is an option of the proxy mode ipvs, not of nftables/);
  refused({ underlaySubnets: 3 }, /--underlay-subnets '3': must be 1 or 2/);
  refused({ nodePortRange: '32767-30000' }, /--node-port-range '32767-30000': not a range of ports/);
  refused({ nodePortRange: '10000-11000' }, /the nodes use port 10249 of it themselves/);
  refused({ nodePortRange: '80-90' }, /ports below 1024/);
  refused({ crossSubnet: true }, /--cross-subnet is an option of --fabric vxlan/);
  refused({ encrypt: true, fabric: 'router' }, /--encrypt is an option of the fabrics host-gw and vxlan/);
  refused({ encrypt: true, fabric: 'vxlan', crossSubnet: true }, /leave one of them out/);
  refused({ encrypt: 'yes' }, /--encrypt 'yes': must be true or false/);
});

test('names are DNS labels that leave room for the names of nodes', () => {
  assert.equal(checkName('a-1'), 'a-1');
  for (const name of ['', 'A', '-a', 'a-', '1a', 'a_b', 'a.b', '../x', 'x'.repeat(41)])
    assert.throws(() => checkName(name), SettingsError, name);
});

test('a second up may repeat the settings of a cluster but not change them', () => {
  const existing = decideSettings({ name: 'a', nodes: 2 });
  assert.deepEqual(settingsInConflict({ nodes: 2 }, existing), []);
  assert.deepEqual(settingsInConflict({}, existing), []);
  assert.deepEqual(settingsInConflict({ nodes: 4 }, existing), ['--nodes 4 (it has 2)']);
  assert.deepEqual(settingsInConflict({ nodePortRange: '30000-32767' }, existing), []);
  assert.deepEqual(settingsInConflict({ nodePortRange: '30000-31000' }, existing), [
    '--node-port-range 30000-31000 (it has 30000-32767)',
  ]);
  assert.deepEqual(settingsInConflict({ fabric: 'vxlan' }, existing), ['--fabric vxlan (it has host-gw)']);
});

test('a file of settings may hold only known ones', () => {
  assert.deepEqual(readGivenSettings({ nodes: 2 }, 'f'), { nodes: 2 });
  assert.throws(() => readGivenSettings({ node: 2 }, 'f'), /f: there is no setting 'node'/);
  assert.throws(() => readGivenSettings([1], 'f'), SettingsError);
});

test('on two subnets the fabric is vxlan where none is chosen', () => {
  assert.equal(decideSettings({ underlaySubnets: '2' }).fabric, 'vxlan');
  assert.equal(decideSettings({ underlaySubnets: 2, fabric: 'router' }).fabric, 'router');
});

test('external IPs are asked for, and node ports on chosen addresses', () => {
  const { externalIps, nodePortAddresses } = decideSettings({
    externalIps: true,
    nodePortAddresses: '172.18.0.0/16, ::1/128',
  });
  assert.deepEqual([externalIps, nodePortAddresses], [true, ['172.18.0.0/16', '::1/128']]);
  assert.throws(
    () => decideSettings({ nodePortAddresses: 'primary' }),
    /^SettingsError: --node-port-addresses 'primary'/,
  );
  assert.throws(
    () => decideSettings({ externalIps: 'yes' }),
    /^SettingsError: --external-ips 'yes': must be true or false/,
  );
});
