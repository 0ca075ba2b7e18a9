// Follows what this node is to tell of load balancers (NodeBGPAnnouncement), and the passwords of its peers.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Cache, Client } from '../../k8s/client.ts';
import { type NodeBGPAnnouncement, nodeBgpAnnouncements } from '../../k8s/load-balancer.ts';
import { secrets } from '../../k8s/resources.ts';
import type { Secret } from '../../k8s/types.generated.ts';

export interface AnnouncementsOptions {
  readonly client: Pick<Client, 'cache'>;
  readonly nodeName: string;
  /** A file that remembers what was told last: for an agent that starts while there is no API server. */
  readonly keptIn: string;
  readonly onChange: () => void;
}

type Spec = NodeBGPAnnouncement['spec'];

/** So long passwords are waited for, in ms; what has none by then goes without a session. */
const patienceMs = 5000;

export class Announcements {
  readonly #options: AnnouncementsOptions;
  readonly #cache: Cache<NodeBGPAnnouncement>;
  readonly #secrets = new Map<string, Cache<Secret>>();
  readonly #kept: Spec;
  readonly #startedAt = performance.now();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: AnnouncementsOptions) {
    this.#options = options;
    this.#kept = readKept(options.keptIn);
    const selection = { fieldSelector: `metadata.name=${options.nodeName}` };
    this.#cache = options.client.cache(nodeBgpAnnouncements, selection);
    this.#followSecrets();
    const changed = (): void => {
      if (!this.#cache.isSynced) return;
      this.#followSecrets();
      mkdirSync(dirname(options.keptIn), { recursive: true, mode: 0o700 });
      writeFileSync(options.keptIn, JSON.stringify(this.current), { mode: 0o600 });
      options.onChange();
    };
    this.#cache.subscribe(changed);
    this.#cache.synced.then(changed, () => {});
  }

  /** What is to be told now; until the API server has answered, what was last. */
  get current(): Spec {
    if (!this.#cache.isSynced) return this.#kept;
    return this.#cache.get({ name: this.#options.nodeName })?.spec ?? {};
  }

  /** Whether the passwords that are needed were looked for. */
  get isKnown(): boolean {
    const isLate = performance.now() - this.#startedAt > patienceMs;
    return isLate || [...this.#secrets.values()].every((cache) => cache.isSynced);
  }

  /** By `namespace/name` of the Secret. */
  get passwords(): ReadonlyMap<string, string | undefined> {
    return new Map(
      [...this.#secrets].map(([key, cache]) => {
        const [namespace = '', name = ''] = key.split('/');
        const password = cache.get({ namespace, name })?.data?.password;
        return [key, password === undefined ? undefined : Buffer.from(password, 'base64').toString('utf8')];
      }),
    );
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#cache.stop();
    for (const cache of this.#secrets.values()) cache.stop();
  }

  #followSecrets(): void {
    const wanted = new Set(
      (this.current.peers ?? []).flatMap(({ passwordSecret: secret }) =>
        secret === undefined ? [] : [`${secret.namespace}/${secret.name}`],
      ),
    );
    for (const [key, cache] of this.#secrets) {
      if (wanted.has(key)) continue;
      cache.stop();
      this.#secrets.delete(key);
    }
    for (const key of wanted) if (!this.#secrets.has(key)) this.#follow(key);
  }

  #follow(key: string): void {
    const [namespace = '', name = ''] = key.split('/');
    const cache = this.#options.client.cache(secrets, { namespace, fieldSelector: `metadata.name=${name}` });
    this.#secrets.set(key, cache);
    const changed = (): void => {
      if (cache.isSynced) this.#options.onChange();
    };
    cache.subscribe(changed);
    cache.synced.then(changed, () => {});
    this.#timer ??= setTimeout(() => this.#options.onChange(), patienceMs + 100).unref();
  }
}

function readKept(file: string): Spec {
  try {
    const read: unknown = JSON.parse(readFileSync(file, 'utf8'));
    return typeof read === 'object' && read !== null ? read : {};
  } catch {
    return {};
  }
}
