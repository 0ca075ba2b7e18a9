import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container, Pod, Service } from '../../k8s/types.generated.ts';
import { containerOf, podOf } from '../pod/fixtures.ts';
import { parseResolvConf, podResolver } from './dns.ts';
import { ConfigError, environment } from './env.ts';
import { expand } from './expand.ts';
import { podNames } from './hostname.ts';
import { nodeHosts, podHosts } from './hosts.ts';
import { linuxResources } from './resources.ts';
import { containerSecurity, forbiddenSysctl } from './security.ts';

const cluster = { servers: ['10.96.0.10'], domain: 'cluster.local' };
const node = { servers: ['192.0.2.1'], searches: ['corp.test'], options: ['timeout:1'] };
const fields = {
  podIps: ['10.244.0.2', 'fd00::2'],
  hostIps: ['172.18.0.2'],
  nodeName: 'n1',
  allocatable: { cpu: '2', memory: '1Gi', ephemeralStorage: '1Gi' },
};

function variables(container: Container, services: Service[] = [], pod: Partial<Pod['spec']> = {}) {
  const made = environment({
    pod: podOf({ containers: [container], ...pod }),
    container,
    fields,
    services,
    configMap: (name) =>
      name === 'c' ? { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { a: '1' } } : undefined,
    secret: () => undefined,
  });
  return Object.fromEntries(made.map(({ key, value }) => [key, value]));
}

test('resolver: cluster first, with the searches of the namespace and of the node', () => {
  const pod = podOf({ containers: [] });
  assert.deepEqual(podResolver(pod, cluster, node), {
    servers: ['10.96.0.10'],
    searches: ['default.svc.cluster.local', 'svc.cluster.local', 'cluster.local', 'corp.test'],
    options: ['ndots:5'],
  });
});

test('resolver: a pod in the network of its node, and Default, take that of the node', () => {
  assert.deepEqual(podResolver(podOf({ containers: [], hostNetwork: true }), cluster, node), node);
  assert.deepEqual(podResolver(podOf({ containers: [], dnsPolicy: 'Default' }), cluster, node), node);
  const both = podOf({ containers: [], hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' });
  assert.deepEqual(podResolver(both, cluster, node).servers, ['10.96.0.10']);
});

test('resolver: dnsConfig is added, options by their name', () => {
  const dnsConfig = { nameservers: ['192.0.2.9'], searches: ['x.test'], options: [{ name: 'ndots', value: '2' }] };
  const merged = podResolver(podOf({ containers: [], dnsConfig }), cluster, node);
  assert.deepEqual(merged.servers, ['10.96.0.10', '192.0.2.9']);
  assert.deepEqual(merged.options, ['ndots:2']);
  const none = podResolver(podOf({ containers: [], dnsPolicy: 'None', dnsConfig }), cluster, node);
  assert.deepEqual(none, { servers: ['192.0.2.9'], searches: ['x.test'], options: ['ndots:2'] });
});

test('a resolv.conf is read', () => {
  assert.deepEqual(parseResolvConf('# x\nnameserver 192.0.2.1\nsearch a b\noptions ndots:1\n'), {
    servers: ['192.0.2.1'],
    searches: ['a', 'b'],
    options: ['ndots:1'],
  });
});

test('hosts: each address with the names of the pod, then the aliases', () => {
  const text = podHosts({
    ips: ['10.0.0.1'],
    hostname: 'web',
    fqdn: 'web.s.d.svc.x',
    aliases: [{ ip: '1.2.3.4', hostnames: ['a', 'b'] }],
  });
  assert.match(text, /^# Kubernetes-managed hosts file\.\n127\.0\.0\.1\tlocalhost\n/);
  assert.match(text, /\n10\.0\.0\.1\tweb\.s\.d\.svc\.x\tweb\n/);
  assert.match(text, /\n# Entries added by HostAliases\.\n1\.2\.3\.4\ta\tb\n$/);
  assert.match(nodeHosts('127.0.0.1 x'), /^# Kubernetes-managed hosts file \(host network\)\.\n127\.0\.0\.1 x\n$/);
});

test('names: hostname and subdomain make the full name', () => {
  const pod = podOf({ containers: [], hostname: 'h', subdomain: 's' });
  assert.deepEqual(podNames(pod, 'cluster.local'), {
    hostname: 'h',
    short: 'h',
    fqdn: 'h.s.default.svc.cluster.local',
  });
  const long = podOf({ containers: [], hostname: 'h'.repeat(60), subdomain: 's', setHostnameAsFQDN: true });
  assert.throws(() => podNames(long, 'cluster.local'), /too long/);
});

test('references are expanded as upstream does', () => {
  const lookup = (name: string) => ({ A: '1' })[name];
  assert.equal(expand('$(A) $$(A) $(B) $A $', lookup), '1 $(A) $(B) $A $');
});

test('environment: order of sources, references to what was set before, fields of the pod', () => {
  const container = containerOf('x', {
    envFrom: [{ prefix: 'P_', configMapRef: { name: 'c' } }],
    env: [
      { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIPs' } } },
      { name: 'B', value: '$(P_a)-$(LATER)' },
      { name: 'LATER', value: 'z' },
      { name: 'CPU', valueFrom: { resourceFieldRef: { resource: 'limits.cpu' } } },
    ],
  });
  assert.deepEqual(variables(container), { P_a: '1', IP: '10.244.0.2,fd00::2', B: '1-$(LATER)', LATER: 'z', CPU: '2' });
});

test('environment: what is missing is an error unless it is optional', () => {
  const of = (optional: boolean) =>
    containerOf('x', { env: [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'none', key: 'k', optional } } }] });
  assert.throws(
    () => variables(of(false)),
    (error) => error instanceof ConfigError && error.message === 'configmap "none" not found',
  );
  assert.deepEqual(variables(of(true)), {});
});

test('environment: Services of the namespace, unless they are switched off; the API server always', () => {
  const service = (name: string, namespace: string, clusterIP: string): Service => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace },
    spec: { clusterIP, ports: [{ port: 80, name: 'web' }] },
  });
  const services = [service('kubernetes', 'default', '10.96.0.1'), service('my-db', 'default', '10.96.0.2')];
  const all = variables(containerOf('x'), services);
  assert.equal(all.MY_DB_SERVICE_HOST, '10.96.0.2');
  assert.equal(all.MY_DB_SERVICE_PORT_WEB, '80');
  assert.equal(all.MY_DB_PORT_80_TCP, 'tcp://10.96.0.2:80');
  const off = variables(containerOf('x'), services, { enableServiceLinks: false });
  assert.equal(off.MY_DB_SERVICE_HOST, undefined);
  assert.equal(off.KUBERNETES_SERVICE_HOST, '10.96.0.1');
});

test('resources: shares, quota, memory and the score of the OOM killer', () => {
  const container = containerOf('x', {
    resources: { requests: { cpu: '250m', memory: '256Mi' }, limits: { cpu: '500m', memory: '512Mi' } },
  });
  assert.deepEqual(linuxResources(podOf({ containers: [container] }), container, 1 << 30), {
    cpuShares: 256,
    cpuPeriod: 100_000,
    cpuQuota: 50_000,
    memoryLimitInBytes: 512 << 20,
    oomScoreAdj: 750,
  });
});

test('a container that must not run as root is refused where it would', () => {
  const container = containerOf('x', { securityContext: { runAsNonRoot: true } });
  const pod = podOf({ containers: [container] });
  const root = { uid: null, username: '' };
  assert.throws(() => containerSecurity(pod, container, root), /image will run as root/);
  assert.throws(() => containerSecurity(pod, container, { uid: null, username: 'www' }), /non-numeric user/);
  assert.deepEqual(containerSecurity(pod, container, { uid: { value: 7 }, username: '' }).runAsUser, { value: 7 });
});

test('sysctls outside of the safe set are refused', () => {
  const of = (name: string, hostNetwork = false) =>
    forbiddenSysctl(podOf({ containers: [], hostNetwork, securityContext: { sysctls: [{ name, value: '1' }] } }));
  assert.equal(of('net.ipv4.tcp_syncookies'), undefined);
  assert.match(of('kernel.panic') ?? '', /not allowlisted/);
  assert.match(of('net/ipv4/tcp_syncookies', true) ?? '', /host net/);
});
