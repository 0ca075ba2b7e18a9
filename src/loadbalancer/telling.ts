// Tells users, by Events, what of their configuration cannot be followed, and which addresses nobody announces; each once.
import type { Cache, Client } from '../k8s/client.ts';
import type { Recorder } from '../k8s/events.ts';
import { networkConfigKey, readNetworkConfig } from '../k8s/network-config.ts';
import { type KubeObject, keyOf, type Stored } from '../k8s/object.ts';
import { configMaps } from '../k8s/resources.ts';
import type { ConfigMap, ObjectReference, Service } from '../k8s/types.generated.ts';
import type { Log } from '../log/log.ts';
import { type Configuration, covering } from './configuration.ts';
import { describeProblems } from './reading.ts';
import { addressesOf } from './request.ts';

export interface TellingOptions {
  readonly client: Pick<Client, 'cache'>;
  readonly recorder: Recorder;
  readonly log: Log;
}

export class Telling {
  readonly #options: TellingOptions;
  /** The settings of the network say whether BGP is spoken. */
  readonly #network: Cache<ConfigMap>;
  /** By object, what it was told. */
  #told = new Map<string, string>();
  readonly #unannounced = new Map<string, string>();

  constructor(options: TellingOptions) {
    this.#options = options;
    const { namespace, name } = networkConfigKey;
    this.#network = options.client.cache(configMaps, { namespace, fieldSelector: `metadata.name=${name}` });
  }

  stop(): void {
    this.#network.stop();
  }

  /** Calls the listener when BGP is spoken, or no longer. */
  subscribe(listener: () => void): void {
    this.#network.subscribe(listener);
  }

  /** Tells of each object that cannot be followed. */
  configuration({ problems, peers }: Configuration): void {
    const { log } = this.#options;
    const now = new Map<string, string>();
    const tell = (object: KubeObject | ObjectReference, key: string, reason: string, text: string): void => {
      now.set(key, text);
      if (this.#told.get(key) === text) return;
      log.warn({ object: key, problems: text.split('\n') }, 'load balancers cannot be configured so');
      this.#options.recorder.event(object, 'Warning', reason, text);
    };
    for (const { object, problems: found } of problems) {
      const text = `${describeProblems(found)}\nWhat the object said before, where that was right, stays in force.`;
      tell(object, `${object.kind} ${keyOf(object)}`, 'InvalidConfiguration', text);
    }
    const silence = this.#whyNoBgp();
    if (silence !== undefined)
      for (const { namespace, name } of peers) {
        const peer = { kind: 'BGPPeer', apiVersion: 'metallb.io/v1beta2', namespace, name };
        tell(peer, `BGPPeer ${keyOf({ namespace, name })}`, 'NotSpoken', silence);
      }
    this.#told = now;
  }

  /** An address that nobody announces is reached from within the cluster alone: that is said. */
  announcement(service: Stored<Service>, configuration: Configuration): void {
    const silence = this.#whyNoBgp();
    const silent = addressesOf(service).filter(
      (address) =>
        covering(configuration.l2, configuration, service, address).length === 0 &&
        (silence !== undefined || covering(configuration.bgp, configuration, service, address).length === 0),
    );
    const key = keyOf(service);
    if (silent.length === 0) {
      this.#unannounced.delete(key);
      return;
    }
    const isForBgp = silent.some((address) => covering(configuration.bgp, configuration, service, address).length > 0);
    const why = isForBgp ? silence : 'no L2Advertisement or BGPAdvertisement covers it';
    const text = `${silent.join(', ')} is reached from within the cluster alone: ${why}`;
    if (this.#unannounced.get(key) === text) return;
    this.#unannounced.set(key, text);
    this.#options.recorder.event(service, 'Warning', 'NotAnnounced', text);
  }

  forget(service: string): void {
    this.#unannounced.delete(service);
  }

  /** Undefined where BGP is spoken, or nothing is known about it yet. */
  #whyNoBgp(): string | undefined {
    if (!this.#network.isSynced) return undefined;
    const object = this.#network.get(networkConfigKey);
    const fabric = object === undefined ? 'host-gw' : readNetworkConfig(object).config?.fabric;
    if (fabric === undefined || fabric === 'bgp') return undefined;
    return `BGP is spoken by the fabric bgp, and the cluster's is ${fabric}: choose it by './weft fabric set bgp'`;
  }
}
