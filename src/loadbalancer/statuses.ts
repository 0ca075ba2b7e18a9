// ServiceL2Status objects: which node answers for a Service's address, as MetalLB tells it.
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { type Cache, type Client, isAlreadyExists, isNotFound } from '../k8s/client.ts';
import { type ServiceL2Status, serviceL2Statuses } from '../k8s/load-balancer.ts';
import { keyOf } from '../k8s/object.ts';
import { createWorkQueue, type WorkQueue } from '../k8s/work-queue.ts';
import type { Log } from '../log/log.ts';
import type { OwnedAddress } from './plan.ts';

export interface L2StatusesOptions {
  readonly client: Client;
  readonly nodeName: string;
  readonly log: Log;
}

/** An address that this node answers for, and the links on which it does. */
export type AnsweredAddress = OwnedAddress & { readonly links: readonly string[] };

const label = {
  node: 'metallb.io/node',
  service: 'metallb.io/service-name',
  namespace: 'metallb.io/service-namespace',
} as const;

interface Wanted {
  readonly object: ServiceL2Status;
  /** The nodes that answer for any address of the Service. */
  readonly owners: ReadonlySet<string>;
}

/** Keeps one object for each Service that the own node announces; those of nodes that it follows, it takes away. */
export class L2Statuses {
  readonly #options: L2StatusesOptions;
  readonly #queue: WorkQueue;
  /** By `namespace/name` of the object. */
  #wanted = new Map<string, Wanted>();
  #own: Cache<ServiceL2Status> | undefined;

  constructor(options: L2StatusesOptions) {
    this.#options = options;
    this.#queue = createWorkQueue({
      run: (key) => this.#write(key),
      onError: (key, error, failures) =>
        options.log[failures < 3 ? 'debug' : 'warn']({ key, err: error }, 'a status cannot be written, will try again'),
    });
  }

  set(answered: readonly AnsweredAddress[]): void {
    const before = this.#wanted;
    this.#wanted = statusesOf(answered, this.#options.nodeName);
    for (const key of new Set([...before.keys(), ...this.#wanted.keys()]))
      if (!isDeepStrictEqual(before.get(key), this.#wanted.get(key))) this.#queue.add(key);
    this.#follow();
  }

  async stop(): Promise<void> {
    this.#own?.stop();
    await this.#queue.stop();
  }

  /** From the first decision on: what an earlier agent has left goes, and what somebody takes away comes back. */
  #follow(): void {
    if (this.#own !== undefined) return;
    const { client, nodeName } = this.#options;
    this.#own = client.cache(serviceL2Statuses, { labelSelector: `${label.node}=${nodeName}` });
    this.#own.subscribe(({ type, object }) => {
      const key = keyOf(object);
      if (this.#wanted.has(key) === (type === 'deleted')) this.#queue.add(key);
    });
  }

  async #write(key: string): Promise<void> {
    const { client } = this.#options;
    const [namespace = '', name = ''] = key.split('/');
    const wanted = this.#wanted.get(key);
    if (wanted === undefined) {
      await client.delete(serviceL2Statuses, { namespace, name }).catch(ignoreGone);
      return;
    }
    await client.create(serviceL2Statuses, wanted.object).catch((error: unknown) => {
      if (!isAlreadyExists(error)) throw error;
    });
    const body = { status: wanted.object.status };
    await client.patch(serviceL2Statuses, { namespace, name }, { type: 'merge', body }, 'status');
    await this.#takeOver(wanted.object, wanted.owners);
  }

  /** A node that announced the Service before may be dead and cannot take its own status away. */
  async #takeOver({ status }: ServiceL2Status, owners: ReadonlySet<string>): Promise<void> {
    const { client } = this.#options;
    const labelSelector = `${label.service}=${status?.serviceName},${label.namespace}=${status?.serviceNamespace}`;
    const { items } = await client.list(serviceL2Statuses, { labelSelector });
    for (const { metadata, status: of } of items)
      if (!owners.has(of?.node ?? '')) await client.delete(serviceL2Statuses, metadata).catch(ignoreGone);
  }
}

function statusesOf(answered: readonly AnsweredAddress[], node: string): Map<string, Wanted> {
  const statuses = new Map<string, Wanted>();
  for (const { service, namespace, links, owners } of answered) {
    const { name: serviceName, namespace: serviceNamespace } = service;
    const name = `l2-${createHash('sha256').update(`${serviceNamespace}/${serviceName} ${node}`).digest('hex').slice(0, 10)}`;
    const key = keyOf({ namespace, name });
    const before = statuses.get(key)?.object.status?.interfaces ?? [];
    const names = new Set([...before.map((each) => each.name ?? ''), ...links]);
    const object: ServiceL2Status = {
      apiVersion: 'metallb.io/v1beta1',
      kind: 'ServiceL2Status',
      metadata: {
        name,
        namespace,
        labels: { [label.node]: node, [label.service]: serviceName, [label.namespace]: serviceNamespace },
      },
      status: { node, serviceName, serviceNamespace, interfaces: [...names].sort().map((each) => ({ name: each })) },
    };
    statuses.set(key, { object, owners });
  }
  return statuses;
}

function ignoreGone(error: unknown): void {
  if (!isNotFound(error)) throw error;
}
