// The iptables mode where it differs from the others: kube-proxy's chains are there, are repaired, and leave others alone.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { installedBackends } from '../../src/linux/iptables-run.ts';
import { Network } from './namespaces.ts';
import { ProxyProcess, service, slice } from './objects.ts';

const [a, b] = [{ ip: '10.244.1.2' }, { ip: '10.244.1.3' }];
const web = service('web', {
  clusterIP: '10.96.0.1',
  type: 'NodePort',
  ports: [{ name: 'http', port: 80, nodePort: 30_080 }],
});
const webSlice = slice('web', [a, b], [{ name: 'http', port: 8080, protocol: 'TCP' }]);

/** A rule of somebody else, by which the backend of iptables is recognised too. */
const foreign = ['INPUT', '-s', '192.0.2.1/32', '-j', 'DROP'];

for (const backend of ['nft', 'legacy'] as const) {
  const iptables = `iptables-${backend}`;
  const missing = installedBackends().includes(backend) ? false : `${iptables} is not installed`;

  describe(`iptables mode with ${iptables}`, { timeout: 60_000, skip: missing }, () => {
    let network: Network;
    let proxy: ProxyProcess;
    const ask = (from: string, address: string, port: number): Promise<string> =>
      network.ask(from, 'tcp', address, port);
    const save = (): string => network.run('node', `${iptables}-save`);
    const rulesOf = (chain: string): string[] =>
      save()
        .split('\n')
        .filter((line) => line.startsWith(`-A ${chain} `));

    before(async () => {
      network = new Network();
      await Promise.all([network.serve('a', 'a'), network.serve('b', 'b')]);
      network.run('node', iptables, '-A', ...foreign);
      proxy = new ProxyProcess(network, 'iptables');
      await proxy.start(web, webSlice);
    });
    after(() => network.remove());

    test('the chains of kube-proxy are found under their names', async () => {
      assert.match(await ask('outside', '10.96.0.1', 80), /^[ab] 10\.244\.1\.1$/);
      const [dispatch = ''] = rulesOf('KUBE-SERVICES').filter((rule) => rule.includes('10.96.0.1/32'));
      const chain = /-j (KUBE-SVC-[A-Z2-7]{16})$/.exec(dispatch)?.[1] ?? assert.fail(dispatch);
      const balanced = rulesOf(chain);
      assert.equal(balanced.filter((rule) => /-j KUBE-SEP-[A-Z2-7]{16}$/.test(rule)).length, 2);
      assert.ok(balanced.some((rule) => /--probability 0\.50000000000 /.test(rule)));
      assert.match(save(), /^:KUBE-PROXY-CANARY /m);
    });

    test('a NodePort answers on 127.0.0.1, which is guarded against others on the LAN', async () => {
      assert.match(await ask('node', '127.0.0.1', 30_080), /^[ab] /);
      assert.equal(network.run('node', 'sysctl', '-n', 'net.ipv4.conf.all.route_localnet').trim(), '1');
      assert.equal(rulesOf('KUBE-FIREWALL').length, 1);
    });

    test('one endpoint more changes the chains of its Service and no other', async () => {
      await proxy.put(
        service('other', { clusterIP: '10.96.0.2' }),
        slice('other', [a]),
        service('marked', { clusterIP: '10.96.0.3' }),
        slice('marked', [b]),
      );
      assert.match(await ask('b', '10.96.0.2', 80), /^a /);
      const before = rulesOf('KUBE-SERVICES');
      await proxy.put(slice('other', [a, b]));
      assert.deepEqual(
        rulesOf('KUBE-SERVICES').filter((rule) => !rule.includes('10.96.250.')),
        before.filter((rule) => !rule.includes('10.96.250.')),
      );
      await proxy.delete(service('other', {}), slice('other', []));
      assert.equal(save().includes('default/other'), false);
    });

    test('what was flushed or deleted by hand is there again within 5 s, and foreign rules stay', async () => {
      const damages = ['-t nat -F', '-t mangle -F', '-t nat -F KUBE-POSTROUTING', '-t filter -F KUBE-FORWARD'];
      // ip_tables announces nothing, so that each of them takes until the next look.
      for (const damage of damages.slice(backend === 'legacy' ? -2 : 0)) {
        network.run('node', iptables, ...damage.split(' '));
        const end = performance.now() + 5000;
        const isWhole = (): boolean =>
          rulesOf('KUBE-POSTROUTING').length === 3 &&
          rulesOf('KUBE-FORWARD').length === 3 &&
          rulesOf('KUBE-PROXY-CANARY').length === 1 &&
          rulesOf('OUTPUT').some((rule) => rule.endsWith('-j KUBE-SERVICES'));
        while (!isWhole()) {
          assert.ok(performance.now() < end, damage);
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        assert.match(await ask('node', '10.96.0.1', 80), /^[ab] /);
      }
      assert.ok(save().includes(`-A ${foreign.join(' ')}`));
    });

    test('the rules stay when the proxy ends, and a new one takes them over', async () => {
      await proxy.end(true);
      const before = rulesOf('OUTPUT');
      assert.match(await ask('node', '10.96.0.1', 80), /^[ab] /);
      proxy = new ProxyProcess(network, 'iptables');
      await proxy.start(web, slice('web', [a], [{ name: 'http', port: 8080, protocol: 'TCP' }]));
      assert.match(await ask('node', '10.96.0.1', 80), /^a /);
      assert.deepEqual(rulesOf('OUTPUT'), before);
      // What the former one had written for endpoints and Services that are gone by now has gone.
      assert.equal(save().match(/^:KUBE-SEP-/gm)?.length, 1);
      assert.equal(save().includes('default/marked'), false);
    });

    test('hundreds of Services, written in parts, answer, and go as they came', async () => {
      const many = Array.from({ length: 600 }, (_, index) => [
        service(`many-${index}`, { clusterIP: `10.96.${10 + (index >> 8)}.${index & 255}` }),
        slice(`many-${index}`, [index % 2 === 0 ? a : b]),
      ]).flat();
      await proxy.put(...many);
      // The next one writes everything anew: 1,200 chains of Services at once.
      await proxy.end(true);
      proxy = new ProxyProcess(network, 'iptables');
      await proxy.start(web, webSlice, ...many);
      assert.equal(save().match(/^:KUBE-SEP-/gm)?.length, 602);
      for (const [address, pod] of [
        ['10.96.10.0', 'a'],
        ['10.96.12.87', 'b'],
      ] as const)
        assert.match(await ask('node', address, 80), new RegExp(`^${pod} `));
      await proxy.delete(...many);
      // Chains go after the ways to them: by the next change they have gone.
      await proxy.put(webSlice);
      assert.equal(save().match(/^:KUBE-SEP-/gm)?.length, 2);
      assert.match(await ask('outside', '10.96.0.1', 80), /^[ab] /);
    });
  });
}
