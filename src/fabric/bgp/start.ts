// BGP between the nodes: watches its settings, follows the Nodes, and has BIRD do what was decided.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Cache } from '../../k8s/client.ts';
import { createRecorder, type Recorder } from '../../k8s/events.ts';
import { configMaps, secrets } from '../../k8s/resources.ts';
import type { ConfigMap, Secret } from '../../k8s/types.generated.ts';
import type { CompanionOptions, FabricCompanion, FabricInput } from '../kinds.ts';
import { Announcements } from './announcements.ts';
import { Bird, type BirdOptions } from './bird.ts';
import { birdConfig } from './bird-config.ts';
import { BirdError } from './control.ts';
import { type BgpDecision, decideBgp } from './decide.ts';
import { changesInWords, noteChange, type SessionChange, type SessionStates } from './session-changes.ts';
import { parseDestinations } from './sessions.ts';
import {
  type BgpSettings,
  BgpSettingsError,
  bgpSettingsEntry,
  bgpSettingsKey,
  defaultBgpSettings,
  readBgpSettings,
} from './settings.ts';

export interface BgpOptions extends CompanionOptions, Pick<BirdOptions, 'watch'> {
  /** The network namespace to speak BGP in; default the calling process's. */
  readonly netns?: string;
}

/** Where BIRD's files are on a node. */
export const birdRunDir = '/run/weft/bird';

/** After this long, nodes that are not reached are not waited for any more, in ms. */
const patienceMs = 30_000;
/** So long a pass waits for the first sessions, and so often it looks, in ms. */
const courtesyMs = 1_500;
const pauseMs = 50;
/** Sessions that change within this time are told together, in ms. */
const tellingMs = 1_000;

/** Starts BGP on a node. BIRD starts with the first input that has the node's address and range. */
export async function startBgp(options: BgpOptions): Promise<FabricCompanion> {
  const bgp = new Bgp(options);
  await bgp.start();
  return bgp;
}

/** Takes away what BGP of an earlier agent has left on this node. */
export async function clearBgp(options: BgpOptions): Promise<void> {
  await new Bird({ ...options, runDir: options.runDir ?? birdRunDir }).clear();
}

class Bgp implements FabricCompanion {
  readonly #options: BgpOptions;
  readonly #runDir: string;
  readonly #bird: Bird;
  readonly #recorder: Recorder;
  readonly #settingsCache: Cache<ConfigMap>;
  #secretCache: Cache<Secret> | undefined;
  readonly #announcements: Announcements;
  /** Undefined until settings were read that can be followed. */
  #settings: BgpSettings | undefined;
  #input: FabricInput | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #reported = '';
  #failure = '';
  #settled = false;
  #stopped = false;
  readonly #sessions: SessionStates = new Map();
  readonly #changed = new Set<string>();
  #telling: NodeJS.Timeout | undefined;
  readonly #startedAt = performance.now();

  constructor(options: BgpOptions) {
    this.#options = options;
    this.#runDir = options.runDir ?? birdRunDir;
    this.#bird = new Bird({
      ...options,
      runDir: this.#runDir,
      onSessionChange: (change) => this.#sessionChanged(change),
      onTakenOver: (established) => {
        for (const session of established) noteChange(this.#sessions, { session, up: true });
      },
    });
    this.#recorder = createRecorder(options.client, 'weft-bgp', options.nodeName);
    this.#settingsCache = options.client.cache(configMaps, only);
    this.#announcements = new Announcements({
      client: options.client,
      nodeName: options.nodeName,
      keptIn: join(this.#runDir, 'announcement.json'),
      onChange: () => this.#again(),
    });
  }

  #again(): void {
    this.#inTurn(() => this.#pass()).catch((error: unknown) =>
      this.#options.log.error({ err: error }, 'BGP cannot be set'),
    );
  }

  async start(): Promise<void> {
    await this.#settingsCache.synced;
    await this.#readSettings();
    this.#settingsCache.subscribe(() => {
      if (this.#settingsCache.isSynced)
        this.#inTurn(async () => {
          await this.#readSettings();
          await this.#pass();
        }).catch((error: unknown) => this.#options.log.error({ err: error }, 'BGP cannot be set'));
    });
  }

  async follow(input: FabricInput): Promise<boolean> {
    this.#input = input;
    return this.#inTurn(async () => {
      try {
        if (!(await this.#pass())) return false;
        this.#failure = '';
      } catch (error) {
        if (!(error instanceof BirdError)) throw error;
        this.#tellFailure(error);
        return false;
      }
      // Sessions take about a second; whoever called waits longer before it asks again.
      const deadline = performance.now() + courtesyMs;
      while (!this.#settled && !this.#stopped) {
        this.#settled = await this.#isReached(input);
        if (this.#settled || performance.now() > deadline) break;
        await delay(pauseMs);
      }
      return this.#settled;
    });
  }

  async stop({ remove }: { readonly remove: boolean }): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#telling);
    this.#settingsCache.stop();
    this.#secretCache?.stop();
    this.#announcements.stop();
    await this.#last.catch(() => {});
    if (remove) await this.#bird.end();
    else this.#bird.release();
    await this.#recorder.flush();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** Decides and applies. False while there is nothing to apply. */
  async #pass(): Promise<boolean> {
    if (this.#stopped || this.#input === undefined || this.#settings === undefined) return false;
    // A session that works must not go away for the time in which its password is looked for.
    if (!this.#announcements.isKnown) return false;
    const decision = decideBgp({
      ...this.#input,
      clusterCidrs: this.#options.clusterCidrs,
      settings: this.#settings,
      passwords: this.#passwords(this.#settings),
      announcement: this.#announcements.current,
      balancerPasswords: this.#announcements.passwords,
    });
    this.#report(decision);
    if (decision.plan === undefined) return false;
    // One that is taken away on purpose is not lost.
    const wanted = new Set(decision.plan.sessions.map(({ name }) => name));
    for (const session of this.#sessions.keys()) if (!wanted.has(session)) this.#sessions.delete(session);
    await this.#bird.apply(birdConfig(decision.plan, { logFile: this.#bird.logFile }));
    return true;
  }

  /** Settings that cannot be followed are told, and the last good ones go on. */
  async #readSettings(): Promise<void> {
    const object = this.#settingsCache.get(bgpSettingsKey);
    const kept = join(this.#runDir, 'settings.json');
    try {
      this.#settings = await settingsOf(object);
      // For an agent that starts when the object holds a mistake.
      mkdirSync(this.#runDir, { recursive: true, mode: 0o700 });
      writeFileSync(kept, JSON.stringify(this.#settings), { mode: 0o600 });
    } catch (error) {
      if (!(error instanceof BgpSettingsError) || object === undefined) throw error;
      this.#options.log.warn({ problems: error.message.split('\n') }, 'the settings of BGP cannot be followed');
      this.#recorder.event(
        object,
        'Warning',
        'InvalidSettings',
        `${error.message}\nThe former settings stay in force.`,
      );
      this.#settings ??= readKept(kept);
    }
  }

  /** Undefined until they are known. */
  #passwords(settings: BgpSettings): ReadonlyMap<string, string> | undefined {
    if (settings.peers.every(({ passwordKey }) => passwordKey === undefined)) return new Map();
    if (this.#secretCache === undefined) {
      const cache = this.#options.client.cache(secrets, only);
      this.#secretCache = cache;
      const again = (): void => {
        if (cache.isSynced) this.#again();
      };
      cache.subscribe(again);
      cache.synced.then(again, () => {});
    }
    if (!this.#secretCache.isSynced) return undefined;
    const data = this.#secretCache.get(bgpSettingsKey)?.data ?? {};
    return new Map(Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString('utf8')]));
  }

  #report({ problems }: BgpDecision): void {
    const text = problems.map(({ owner, reason }) => `${owner}: ${reason}`).join('\n');
    if (text === this.#reported) return;
    this.#reported = text;
    if (text === '') return;
    this.#options.log.warn({ problems: text.split('\n') }, 'not every BGP session can be set up');
    const object = this.#settingsCache.get(bgpSettingsKey);
    const isBalancers = (owner: string): boolean => owner.startsWith('BGPPeer ');
    const own = problems.filter(({ owner }) => !isBalancers(owner)).map(({ owner, reason }) => `${owner}: ${reason}`);
    if (object !== undefined && own.length > 0) this.#recorder.event(object, 'Warning', 'InvalidPeer', own.join('\n'));
    for (const { owner, reason } of problems.filter((problem) => isBalancers(problem.owner))) {
      const [namespace = '', name = ''] = owner.slice('BGPPeer '.length).split('/');
      const peer = { kind: 'BGPPeer', apiVersion: 'metallb.io/v1beta2', namespace, name };
      this.#recorder.event(peer, 'Warning', 'InvalidPeer', `${this.#options.nodeName}: ${reason}`);
    }
  }

  /** Changes that come together (a node that starts, a link that breaks) are one Event. */
  #sessionChanged(change: SessionChange): void {
    if (this.#stopped || !noteChange(this.#sessions, change)) return;
    this.#changed.add(change.session);
    this.#telling ??= setTimeout(() => this.#tellSessions(), tellingMs).unref();
  }

  #tellSessions(): void {
    this.#telling = undefined;
    const { up, lost } = changesInWords(this.#sessions, this.#changed);
    this.#changed.clear();
    const { log } = this.#options;
    if (lost !== undefined) {
      log.warn({ sessions: lost }, 'BGP sessions are lost');
      this.#recorder.event(this.#node(), 'Warning', 'BgpSessionLost', `no session with ${lost} any more`);
    }
    if (up !== undefined) {
      log.info({ sessions: up }, 'BGP sessions are established');
      this.#recorder.event(this.#node(), 'Normal', 'BgpSessionEstablished', `session with ${up}`);
    }
  }

  #node(): { kind: string; apiVersion: string; name: string; uid: string } {
    const name = this.#options.nodeName;
    return { kind: 'Node', apiVersion: 'v1', name, uid: name };
  }

  /** Told once, for it is tried again and again. */
  #tellFailure(error: BirdError): void {
    const { log } = this.#options;
    if (error.message === this.#failure) return;
    this.#failure = error.message;
    log.error({ err: error }, 'BGP cannot be spoken');
    this.#recorder.event(this.#node(), 'Warning', 'BirdFailed', error.message);
  }

  /** Whether there is a route to each range of the nodes that are ready, or they have been waited for long enough. */
  async #isReached({ peers }: FabricInput): Promise<boolean> {
    if (performance.now() - this.#startedAt > patienceMs) return true;
    const reply = await this.#bird.control?.command('show route primary where source = RTS_BGP').catch(() => undefined);
    if (reply === undefined) return false;
    const known = parseDestinations(reply);
    return peers.reaches.every(({ peer, to }) => !peer.ready || known.has(to));
  }
}

const only = { namespace: bgpSettingsKey.namespace, fieldSelector: `metadata.name=${bgpSettingsKey.name}` };

/** The settings of the object; the defaults where there is none. Throws a BgpSettingsError. */
async function settingsOf(object: ConfigMap | undefined): Promise<BgpSettings> {
  const text = object?.data?.[bgpSettingsEntry];
  if (object === undefined) return defaultBgpSettings;
  if (text === undefined) throw new BgpSettingsError(`data: the key ${bgpSettingsEntry} is missing`);
  const { parse } = await import('yaml');
  let document: unknown;
  try {
    document = parse(text);
  } catch (error) {
    throw new BgpSettingsError(`${bgpSettingsEntry}: ${error instanceof Error ? error.message : String(error)}`);
  }
  return readBgpSettings(document);
}

function readKept(file: string): BgpSettings | undefined {
  try {
    return readBgpSettings(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    return undefined;
  }
}
