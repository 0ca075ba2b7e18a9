// Services, EndpointSlices and pods for tests, and the process of a proxy that they are fed to.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { KubeObject } from '../../src/k8s/object.ts';
import type { EndpointSlice, Service, ServiceSpec } from '../../src/k8s/types.generated.ts';
import type { ProxyMode } from '../../src/proxy/writer.ts';
import type { Network } from './namespaces.ts';

export function service(name: string, spec: ServiceSpec, status?: Service['status']): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default' },
    spec: { type: 'ClusterIP', ports: [{ port: 80, protocol: 'TCP' }], ...spec },
    ...(status === undefined ? {} : { status }),
  };
}

export interface TestEndpoint {
  readonly ip: string;
  readonly node?: string;
  readonly ready?: boolean;
  readonly serving?: boolean;
  readonly terminating?: boolean;
}

export function slice(
  ofService: string,
  endpoints: readonly TestEndpoint[],
  ports: EndpointSlice['ports'] = [{ port: 8080, protocol: 'TCP' }],
): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${ofService}-1`,
      namespace: 'default',
      labels: { 'kubernetes.io/service-name': ofService },
    },
    addressType: endpoints[0]?.ip.includes(':') ? 'IPv6' : 'IPv4',
    ports,
    endpoints: endpoints.map(({ ip, node = 'node', ready = true, serving = ready, terminating = false }) => ({
      addresses: [ip],
      nodeName: node,
      conditions: { ready, serving, terminating },
    })),
  };
}

/** The proxy of one of the network's nodes, running in its own process within the node's namespace. */
export class ProxyProcess {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #marks = 0;
  /** The Events that it recorded, as far as its output was read: `REASON MESSAGE`. */
  readonly events: string[] = [];
  /** The mode that was in place when the proxy last said so. */
  #mode: string | undefined;

  constructor(network: Network, mode: ProxyMode | 'configured' = 'nftables', node: 'node' | 'remote' = 'node') {
    // A test machine has it bundled.
    const program = process.env.WEFT_PROXY_PROCESS ?? join(import.meta.dirname, 'proxy-process.ts');
    const flags = ['--disable-warning=ExperimentalWarning'];
    this.#child = network.spawn(node, process.execPath, ...flags, program, mode, node);
    if (this.#child.stdout === null) throw new Error('the proxy has no output');
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async start(...objects: KubeObject[]): Promise<void> {
    for (const object of objects) this.#send({ type: 'put', object });
    this.#send({ type: 'go' });
    await this.#until('started');
  }

  /** Changes objects and waits until the kernel has it all. */
  async put(...objects: KubeObject[]): Promise<void> {
    for (const object of objects) this.#send({ type: 'put', object });
    await this.#mark();
  }

  /** Deletes objects and waits until the kernel has it all. */
  async delete(...objects: KubeObject[]): Promise<void> {
    for (const object of objects) this.#send({ type: 'delete', object });
    await this.#mark();
  }

  /** Sets the proxy mode of the cluster, without waiting for it. */
  configure(mode: string): void {
    const metadata = { namespace: 'kube-system', name: 'weft-config' };
    this.#send({
      type: 'put',
      object: { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { 'proxy.mode': mode } },
    });
  }

  /** Waits until that mode is in place, and nothing is left of another one. */
  async inPlace(mode: ProxyMode): Promise<void> {
    if (this.#mode !== mode) await this.#until(`in place ${mode}`);
  }

  /** Waits until it has recorded so many Events with this reason. */
  async event(reason: string, count = 1): Promise<void> {
    while (this.events.filter((event) => event.startsWith(reason)).length < count) await this.#until(`event ${reason}`);
  }

  async #mark(): Promise<void> {
    const clusterIP = `10.96.250.${++this.#marks}`;
    this.#send({ type: 'put', object: service(`marker-${this.#marks}`, { clusterIP }) });
    await this.#until(`marker ${clusterIP}`);
  }

  async #until(word: string): Promise<void> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`the proxy ended before '${word}'`);
      if (value.startsWith('in place ')) this.#mode = value.slice('in place '.length);
      if (value.startsWith('event ')) this.events.push(value.slice('event '.length));
      if (value.startsWith(word)) return;
    }
  }

  #send(message: object): void {
    this.#child.stdin?.write(`${JSON.stringify(message)}\n`);
  }

  /** Ends it as a restart does (`false`), or at once as kill -9 (`true`). */
  async end(hard = false): Promise<void> {
    const exit = once(this.#child, 'exit');
    if (hard) this.#child.kill('SIGKILL');
    else this.#child.stdin?.end();
    await exit;
  }
}
