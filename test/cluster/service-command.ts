// What `weft service` tells of Services of each type, in the modes nftables and iptables, with connections that were made.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import type { Machine } from './machine.ts';

const externalIp = '172.18.77.1';

const service = (name: string, spec: object): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name },
  spec: { selector: { app: 'shown' }, ports: [{ port: 80, targetPort: 'http' }], ...spec },
});

/** One pod on the node `worker`, and a Service of each type; two of them want the same external IP. */
function objects(cluster: string): object {
  const container = {
    name: 'web',
    image: 'weft.local/busybox:1',
    command: ['sh', '-c', 'hostname > /index.html; exec httpd -f -p 8080 -h /'],
    ports: [{ name: 'http', containerPort: 8080 }],
    readinessProbe: { httpGet: { port: 'http' }, periodSeconds: 1 },
  };
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'shown', labels: { app: 'shown' } },
    spec: { nodeName: `${cluster}-worker`, terminationGracePeriodSeconds: 0, containers: [container] },
  };
  const items = [
    pod,
    service('inside', {}),
    service('node-port', { type: 'NodePort', externalTrafficPolicy: 'Local' }),
    service('balanced', { type: 'LoadBalancer' }),
    service('headless', { clusterIP: 'None' }),
    service('alias', { type: 'ExternalName', externalName: 'example.org', selector: {}, ports: [] }),
    service('claims-first', { externalIPs: [externalIp] }),
    service('claims-too', { externalIPs: [externalIp] }),
    service('wrong-label', { selector: { app: 'show' } }),
  ];
  return { apiVersion: 'v1', kind: 'List', items };
}

interface Entrance {
  readonly kind: string;
  readonly address: string;
  readonly port: number;
}

interface Report {
  readonly service: {
    readonly entrances: readonly Entrance[];
    readonly endpoints: readonly { readonly pod?: string; readonly used: readonly string[] }[];
  };
  readonly node: { readonly name: string; readonly mode: string };
  readonly findings: readonly { readonly reason: string; readonly text: string }[];
  readonly kernel: readonly { readonly place: string; readonly state: string; readonly packets?: number }[];
}

export function serviceCommandTests(machine: Machine, name: string): void {
  const text = (which: string): Promise<string> => machine.must('service', which, '--name', name);
  const report = async (which: string): Promise<Report> =>
    JSON.parse(await machine.must('service', which, '--name', name, '-o', 'json'));
  const onNode = ['node', 'exec', 'control-plane', '--name', name, '--'];
  const askTwice = ({ address, port }: Entrance): Promise<string> =>
    machine.must(...onNode, 'busybox', 'wget', '-qO-', `${address}:${port}`, `${address}:${port}`);
  /** By Service, the first of its addresses: that of the load balancer before that of the node before its own. */
  const strongest: Record<string, Entrance> = {};

  describe('weft service', () => {
    before(async () => {
      const apply = ['--context', `weft-${name}`, 'apply', '-f', '-'];
      const applied = await machine.run('kubectl', apply, JSON.stringify(objects(name)));
      assert.equal(applied.code, 0, applied.stderr);
      await machine.kubectl(name, 'wait', '--for=condition=Ready', 'pod/shown', '--timeout=60s');
      const address = '--for=jsonpath={.status.loadBalancer.ingress}';
      await machine.kubectl(name, 'wait', address, 'service/balanced', '--timeout=30s');
      for (const [which, count] of Object.entries({ inside: 1, 'node-port': 3, balanced: 4 })) {
        const { entrances } = (await report(which)).service;
        assert.equal(entrances.length, count, which);
        const [first] = entrances;
        if (first !== undefined) strongest[which] = first;
      }
    });

    for (const mode of ['iptables', 'nftables'] as const) kindsOf(mode);

    function kindsOf(mode: 'nftables' | 'iptables'): void {
      test(`in the mode ${mode} each address leads to the pod, and its connections are counted`, async () => {
        await machine.must('proxy', 'mode', mode, '--name', name);
        await Promise.all(
          Object.entries(strongest).map(async ([which, entrance]) => {
            assert.equal(await askTwice(entrance), 'shown\nshown\n');
            const [{ node, kernel, findings }, shown] = await Promise.all([report(which), text(which)]);
            assert.equal(node.mode, mode);
            for (const entry of kernel) assert.equal(entry.state, 'as decided', JSON.stringify(entry));
            const local = which === 'node-port' ? ['NoLocalEndpointForOutside'] : [];
            assert.deepEqual(
              findings.map(({ reason }) => reason),
              local,
            );
            const { kind, address } = entrance;
            assert.match(shown, new RegExp(`^${kind} +${address} .* to 10\\.244\\.1\\.\\d+:8080.* 2( in all)?$`, 'm'));
          }),
        );
      });

      test(`in the mode ${mode} it says who has an address that two Services claim, and why`, async () => {
        const { findings, kernel } = await report('claims-too');
        assert.deepEqual(findings, [
          {
            reason: 'AddressTaken',
            text: `${externalIp} port 80/TCP leads to default/claims-first: of two that claim it alike, the first by namespace/name has it.`,
          },
        ]);
        for (const entry of kernel) assert.equal(entry.state, 'as decided', JSON.stringify(entry));
        const shown = await text('claims-too');
        assert.match(shown, new RegExp(`^ExternalIP +${externalIp} +80/TCP +to default/claims-first, which has`, 'm'));
        assert.deepEqual((await report('claims-first')).findings, []);
      });

      test(`in the mode ${mode} a Service without endpoints has its reason, and is refused in the kernel`, async () => {
        const shown = await text('wrong-label');
        assert.match(
          shown,
          /^! The selector app=show matches no pod in the namespace default: pods have app=shown\.$/m,
        );
        assert.match(shown, /^ClusterIP .* nowhere: refused +0$/m);
        assert.match(shown, mode === 'nftables' ? /goto reject-new/ : /^filter KUBE-SERVICES .*REJECT/m);
      });
    }

    test('a headless Service and an alias have nothing in the kernel', async () => {
      const headless = await report('headless');
      assert.deepEqual([headless.kernel, headless.service.entrances], [[], []]);
      assert.match(await text('headless'), /^Service default\/headless: headless, on .*\n.*\n\n! .* ask port 8080;/);
      assert.match(await text('alias'), /^Leads to {2}example\.org: its DNS name is an alias/m);
    });

    test('a Service that there is not is one line, and exit status 1', async () => {
      const result = await machine.weft('service', 'nothing', '--name', name);
      assert.equal(result.code, 1);
      assert.match(result.stderr, /^weft: there is no Service nothing in the namespace default;.*\n$/);
    });
  });
}
