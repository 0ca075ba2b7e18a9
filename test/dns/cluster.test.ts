// Cluster DNS as its users see it: one cluster, the real kubectl, dig in a pod, and ./weft dns. The parts run in order.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { apply, kubeconfig, kubectl, weft } from '../e2e/tools.ts';
import { cluster, follow, inTools, kubectlEdit, startOutside, until } from './tools.ts';
import { addressed, denied, startUpstream, type TestUpstream } from './upstream.ts';

let outside: Awaited<ReturnType<typeof startOutside>>;
/** A DNS server of this machine, on its loopback address: no node has a way to it. */
let upstream: TestUpstream;

before(async () => {
  upstream = await startUpstream((asked, query) =>
    asked.name === 'www.example.org' ? addressed('192.0.2.9')(asked, query) : denied('NXDOMAIN')(asked, query),
  );
  const given = ['--kubeconfig', kubeconfig, '--dns-upstream', `127.0.0.1:${upstream.port}`];
  const up = await weft('up', '--name', cluster, '--nodes', '2', '--offline', ...given);
  assert.equal(up.code, 0, up.stderr + up.stdout);
  outside = await startOutside();
  await apply(objects);
  await kubectl('wait', '--for=condition=Ready', 'pod/tools', 'pod/web', '--timeout=60s');
});

after(async () => {
  await upstream.stop();
  await outside?.stop();
  const down = await weft('down', '--name', cluster);
  assert.equal(down.code, 0, down.stderr);
});

const objects = `
apiVersion: v1
kind: Pod
metadata: { name: tools }
spec:
  terminationGracePeriodSeconds: 0
  containers: [{ name: tools, image: "weft.local/tools:1", command: [sleep, "3600"] }]
---
apiVersion: v1
kind: Pod
metadata: { name: web, labels: { app: web } }
spec:
  terminationGracePeriodSeconds: 0
  containers: [{ name: web, image: "weft.local/busybox:1", command: [httpd, -f, -p, "80"] }]
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { selector: { app: web }, ports: [{ name: http, port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: pods }
spec: { clusterIP: None, selector: { app: nothing }, ports: [{ name: http, port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: outside }
spec: { type: ExternalName, externalName: shop.corp.example }
`;

const dig = (...args: readonly string[]): Promise<string> => inTools('dig', '+time=2', '+tries=1', '+short', ...args);
const lookup = (...args: readonly string[]) => weft('dns', 'lookup', '--name', cluster, ...args);

test('names outside of the cluster are asked of the upstream that up was given, over UDP and TCP', async () => {
  assert.equal(await dig('www.example.org'), '192.0.2.9');
  assert.equal(await dig('+tcp', 'www.example.org', 'AAAA'), '');
  assert.deepEqual(
    new Set(upstream.asked.map(({ name, type, transport }) => `${type} ${name} ${transport}`)),
    new Set(['A www.example.org udp', 'AAAA www.example.org tcp']),
  );
  const text = (await weft('dns', '--name', cluster)).stdout;
  assert.match(text, new RegExp(`in force +127\\.0\\.0\\.1:${upstream.port}$`, 'm'));
});

test('kubectl edit of the ConfigMap: a stub domain is in force on every node within seconds', async () => {
  assert.equal(await dig('shop.corp.example'), '');
  const block = 'corp.example:53 {\\n        forward . 172.18.0.1\\n    }';
  await kubectlEdit(`s/^    \\.:53 {/    ${block}\\n    .:53 {/`, '-n', 'kube-system', 'configmap', 'coredns');
  assert.equal(
    await until(
      (text) => text === '192.0.2.1',
      () => dig('shop.corp.example'),
    ),
    '192.0.2.1',
  );
  assert.ok(outside.asked.includes('A shop.corp.example'));
  const state = await until(
    ({ stdout }) => stdout.split('in force').length === 3,
    () => weft('dns', '--name', cluster),
  );
  assert.match(state.stdout, /corp\.example\. +53 +forward/);
  assert.match(state.stdout, /172\.18\.0\.1:53/);
});

test('kubectl edit: a hosts entry', async () => {
  const lines = 'hosts {\\n           192.0.2.77 printer.office\\n           fallthrough\\n        }';
  await kubectlEdit(`s/^        ready$/        ready\\n        ${lines}/`, '-n', 'kube-system', 'configmap', 'coredns');
  assert.equal(
    await until(
      (text) => text !== '',
      () => dig('printer.office'),
    ),
    '192.0.2.77',
  );
  assert.equal(await dig('-x', '192.0.2.77'), 'printer.office.');
  assert.match(await dig('web.default.svc.cluster.local'), /^10\.96\./);
});

test('a broken Corefile changes nothing: an Event and ./weft dns name its line, and mending it is told too', async () => {
  await kubectlEdit(
    's/^        loop$/        loop\\n        etcd skydns/',
    '-n',
    'kube-system',
    'configmap',
    'coredns',
  );
  const described = await until(
    (text) => text.includes('CorefileRefused'),
    () => kubectl('-n', 'kube-system', 'describe', 'configmap', 'coredns'),
  );
  assert.match(described, /CorefileRefused .*Corefile:\d+: the plugin etcd is not supported\. The last good/);
  assert.equal(await dig('shop.corp.example'), '192.0.2.1');
  assert.match(
    (await weft('dns', '--name', cluster)).stdout,
    /is refused.*\n +Corefile:\d+: the plugin etcd is not supported/,
  );
  await kubectlEdit('/^        etcd skydns$/d', '-n', 'kube-system', 'configmap', 'coredns');
  const mended = await until(
    (text) => text.includes('CorefileLoaded'),
    () => kubectl('-n', 'kube-system', 'describe', 'configmap', 'coredns'),
  );
  assert.match(mended, /CorefileLoaded/);
});

test('ExternalName: the alias and what it leads to; another name, then an address of its own', async () => {
  assert.equal(await dig('outside.default.svc.cluster.local'), 'shop.corp.example.\n192.0.2.1');
  await kubectl('patch', 'service', 'outside', '-p', '{"spec":{"externalName":"till.corp.example"}}');
  const changed = await until(
    (text) => text.startsWith('till'),
    () => dig('outside.default.svc.cluster.local'),
  );
  assert.equal(changed, 'till.corp.example.\n192.0.2.1');
  await kubectl(
    'patch',
    'service',
    'outside',
    '-p',
    '{"spec":{"type":"ClusterIP","externalName":null,"ports":[{"port":80}]}}',
  );
  assert.match(
    await until(
      (text) => text.startsWith('10.96.'),
      () => dig('outside.default.svc.cluster.local'),
    ),
    /^10\.96\.\d+\.\d+$/,
  );
});

test('weft dns lookup from a pod: what was tried, who answered, from which objects', async () => {
  const found = await lookup('web', '--from', 'tools');
  assert.equal(found.code, 0, found.stderr);
  assert.match(found.stdout, /1\. web\.default\.svc\.cluster\.local\. +A +A 10\.96\.\d+\.\d+ \(30 s\)/);
  assert.match(found.stdout, /kubernetes \(Corefile:\d+\): the address of Service default\/web, with 1 ready endpoint/);
  assert.match(found.stdout, /from Service default\/web, EndpointSlice default\/web-/);
  const json = JSON.parse((await lookup('shop.corp.example', '--from', 'default/tools', '-o', 'json')).stdout);
  assert.deepEqual(json.answers, ['192.0.2.1']);
  assert.equal(json.steps.at(-1).explanation.by, 'forward');
});

test('weft dns lookup of what is not found says what is missing', async () => {
  for (const [name, why] of [
    ['wep', /there is no Service wep in namespace default; did you mean web\?/],
    ['web.defualt', /namespace defualt does not exist; did you mean default\?/],
    [
      'pods',
      /Service default\/pods exists and is headless, but it has no endpoints: its selector app=nothing matches no running pod/,
    ],
    ['web.default.cluster.local.', /did you mean web\.default\.svc\.cluster\.local\?/],
    ['_https._tcp.web.default.svc.cluster.local.', /Service default\/web has no port https\/TCP; it has http\/TCP/],
  ] as const) {
    const result = await lookup(name, '--from', 'tools');
    assert.equal(result.code, 1);
    assert.match(result.stdout.trim().split('\n').at(-1) ?? '', why);
  }
  const nobody = await lookup('web', '--from', 'tolls');
  assert.deepEqual(
    [nobody.code, nobody.stderr.trim()],
    [1, 'weft: there is no pod tolls in namespace default; did you mean tools?'],
  );
  assert.equal((await lookup('web', '--type', 'AB')).code, 2);
});

test('weft dns log shows the questions of a pod while somebody looks', async () => {
  const log = follow('dns', 'log', '-f', '--name', cluster, '--pod', 'tools');
  try {
    const seen = await until(
      (lines) => lines.length > 0,
      async () => {
        await dig('web.default.svc.cluster.local');
        return log.lines;
      },
    );
    assert.match(
      seen[0] ?? '',
      /^\d\d:\d\d:\d\d\.\d{3} {2}wtdns-\S+ {2}default\/tools {2}web\.default\.svc\.cluster\.local\. A {2}→ {2}1 record {2}[\d.]+ ms {2}kubernetes$/,
    );
  } finally {
    await log.stop();
  }
});

test('metrics at the Service, under the names of CoreDNS', async () => {
  const url = 'http://kube-dns.kube-system.svc.cluster.local:9153/metrics';
  // The Service leads to any of the servers; one that nobody has asked yet has no requests to count.
  const page = await until(
    (text) => text.includes('coredns_dns_requests_total{'),
    () => inTools('curl', '-s', '--max-time', '5', url),
  );
  for (const name of [
    'coredns_dns_requests_total',
    'coredns_dns_responses_total',
    'coredns_dns_request_duration_seconds_bucket',
    'coredns_plugin_enabled',
    'coredns_build_info',
  ])
    assert.match(page, new RegExp(`^${name}\\{`, 'm'));
});

test('the Deployment form answers the same, beside the servers of the nodes and under another name', async () => {
  const file = new URL('../../deploy/dns/deployment.yaml', import.meta.url);
  const other = readFileSync(file, 'utf8')
    .replaceAll(/(?<!\/)(?:kube|weft)-dns/g, 'other-dns')
    .replace('clusterIP: 10.96.0.10', 'clusterIP: 10.96.0.53')
    .replace('replicas: 2', 'replicas: 1');
  await apply(other);
  await kubectl('rollout', 'status', '-n', 'kube-system', 'deployment/other-dns', '--timeout=60s');
  for (const name of ['web.default.svc.cluster.local', 'kubernetes.default.svc.cluster.local'])
    for (const transport of ['+notcp', '+tcp']) {
      const own = await dig(transport, name);
      assert.notEqual(own, '');
      assert.equal(await dig('@10.96.0.53', transport, name), own);
    }
});

test('the form for nodes alone: its manifests applied where the cluster has no DNS at all', async () => {
  await kubectl('delete', 'clusterrole/weft-dns', 'clusterrolebinding/weft-dns');
  const own = ['daemonset/weft-dns', 'service/kube-dns', 'configmap/coredns', 'serviceaccount/kube-dns'];
  await kubectl('delete', '-n', 'kube-system', '--wait=false', ...own);
  const pods = ['pods', '-n', 'kube-system', '-l', 'k8s-app=kube-dns'];
  await kubectl('delete', ...pods, '--grace-period=0', '--force');
  await until(
    (text) => text === '',
    () => kubectl('get', ...pods, '-o', 'name'),
  );
  const form = (name: string): string => new URL(`../../deploy/dns/${name}`, import.meta.url).pathname;
  await kubectl('apply', '-f', form('corefile.yaml'), '-f', form('node-local.yaml'));
  await kubectl('rollout', 'status', '-n', 'kube-system', 'daemonset/weft-dns', '--timeout=60s');
  for (const transport of ['+notcp', '+tcp'])
    for (const server of ['10.96.0.10', '169.254.20.10'])
      assert.match(await dig(`@${server}`, transport, 'web.default.svc.cluster.local'), /^10\.96\./);
  const { stdout } = await weft('dns', '--name', cluster);
  assert.equal(stdout.split(/ready +\d+ +in force/).length, 3, stdout);
  assert.match(stdout, /no upstream: give --dns-upstream to weft up, or edit the ConfigMap coredns/);
});
