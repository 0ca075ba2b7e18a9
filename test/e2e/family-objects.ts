// What the tests of families put into their clusters: web servers on all families, and a Service of each form.

/** Its answer is the address from which it was asked, and the name of its host. */
const server = (port: number): string =>
  [
    'mkdir -p /www/cgi-bin',
    'printf \'#!/bin/sh\\nprintf "Content-Type: text/plain\\\\r\\\\n\\\\r\\\\n$REMOTE_ADDR $HOSTNAME\\\\n"\\n\' > /www/cgi-bin/peer',
    'chmod +x /www/cgi-bin/peer',
    `exec httpd -f -p '[::]:${port}' -h /www`,
  ].join(' && ');

const container = (port: number, more: object = {}): object => ({
  name: 'echo',
  image: 'weft.local/busybox:1',
  command: ['sh', '-c', server(port)],
  env: [{ name: 'POD_IPS', valueFrom: { fieldRef: { fieldPath: 'status.podIPs' } } }],
  ports: [{ name: 'http', containerPort: port }],
  readinessProbe: { httpGet: { path: '/cgi-bin/peer', port }, periodSeconds: 1 },
  ...more,
});

const workload = (kind: string, name: string, spec: object, pod: object): object => ({
  apiVersion: 'apps/v1',
  kind,
  metadata: { name },
  spec: {
    selector: { matchLabels: { app: name } },
    ...spec,
    template: { metadata: { labels: { app: name } }, spec: { terminationGracePeriodSeconds: 0, ...pod } },
  },
});

export const service = (name: string, spec: object, port: object = {}): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name },
  spec: { selector: { app: 'echo' }, ports: [{ port: 80, targetPort: 'http', ...port }], ...spec },
});

/** Four pods in the pod network, `echo`, and one in each node's own, `on-node`. */
export const servers: readonly object[] = [
  workload('Deployment', 'echo', { replicas: 4 }, { containers: [container(8080)] }),
  workload('DaemonSet', 'on-node', {}, { hostNetwork: true, containers: [container(8081)] }),
];

/** A list for kubectl. */
export const listOf = (items: readonly object[]): string => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });

export const dualStackObjects = listOf([
  ...servers,
  service('plain', {}),
  service('prefer', { ipFamilyPolicy: 'PreferDualStack' }),
  service('require', { ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv6', 'IPv4'] }),
  service('only6', { ipFamilies: ['IPv6'] }),
  service('headless', { clusterIP: 'None', ipFamilyPolicy: 'PreferDualStack' }),
  service('open', { type: 'NodePort', ipFamilyPolicy: 'PreferDualStack' }, { nodePort: 30281 }),
  service('open6', { type: 'NodePort', ipFamilies: ['IPv6'] }, { nodePort: 30282 }),
]);
