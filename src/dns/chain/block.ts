// A server block at work: its plugins in CoreDNS's order — any, rewrite, hosts, kubernetes, forward with its cache, whoami.
import { type AnswerCache, type CacheOutcome, isWithinAny } from '../cache.ts';
import type { ServerBlock } from '../corefile/config.ts';
import type { Forwarder, Outcome } from '../forward/forwarder.ts';
import { isLoopProbe, loopAnswer } from '../forward/loop.ts';
import { classInternet, type DnsRecord, type Name, rcode, type } from '../records.ts';
import type { Resolution } from '../resolve.ts';
import { laterNames } from '../search.ts';
import type { HostsPlugin } from './hosts.ts';
import type { KubernetesPlugin } from './kubernetes.ts';
import {
  type ChainQuestion,
  type ChainReply,
  emptyReply,
  failure,
  type MaybePromise,
  noUpstream,
  records,
  replyCode,
} from './reply.ts';
import { type Rewritten, rewrite } from './rewrite.ts';
import { addressRecords, chaosReply, classChaos, whoami } from './small-plugins.ts';

export interface BlockParts {
  readonly block: ServerBlock;
  readonly kubernetes?: KubernetesPlugin;
  readonly hosts?: HostsPlugin;
  readonly forwarders: readonly Forwarder[];
  readonly cache?: AnswerCache;
  /** The namespace of the pod with this address, where names are completed for clients; undefined for others. */
  namespaceOf?(address: string): string | undefined;
  /** The mark by which this cluster's own probes for loops are known. */
  clusterMark(): string | undefined;
  /** Asks this server itself: for the target of an alias that leads out of the cluster. */
  lookup(name: Name, question: ChainQuestion): MaybePromise<ChainReply>;
}

/** DNS extended errors (RFC 8914 section 4). */
const extended = { stale: 3, notReady: 14, noAuthority: 20, noReachable: 22, other: 0 } as const;

export class BlockServer {
  readonly parts: BlockParts;
  readonly #turns = { next: 0 };

  constructor(parts: BlockParts) {
    this.parts = parts;
  }

  /** The reply; at once where no upstream has to be asked. */
  answer(question: ChainQuestion): MaybePromise<ChainReply> {
    const { block } = this.parts;
    if (block.loop && isLoopProbe(question.name, this.parts.clusterMark()))
      return records('loop', loopAnswer(question.name));
    if (block.any && question.type === type.ANY) return whoami.anyReply(question);
    const changed = this.rewritten(question);
    if (changed === undefined) return this.#plugins(question);
    const reply = this.#plugins(changed.question);
    return reply instanceof Promise ? reply.then((given) => changed.revert(given)) : changed.revert(reply);
  }

  /** What the block's rules make of a question; undefined where they leave it as it is. */
  rewritten(question: ChainQuestion): Rewritten | undefined {
    const { rewrites } = this.parts.block;
    return rewrites.length === 0 ? undefined : rewrite(rewrites, question);
  }

  #plugins(question: ChainQuestion): MaybePromise<ChainReply> {
    const { chaos } = this.parts.block;
    const own = chaos !== undefined && question.class === classChaos ? chaosReply(chaos, question) : undefined;
    if (own !== undefined) return own;
    if (question.class !== classInternet && question.class !== type.ANY) return records('', emptyReply(rcode.refused));
    const { hosts, kubernetes } = this.parts;
    const known = hosts?.answer(question.name, question.type);
    if (known !== undefined) return records('hosts', { ...known, answers: this.#rotated(known.answers) });
    const found = kubernetes?.answer(question.name, question.type) ?? 'next';
    if (found === 'unsynced')
      return failure('kubernetes', extended.notReady, 'the list of Services is not complete yet');
    if (found === 'next') return this.#forward(question);
    const completed = found.rcode === rcode.noSuchName ? this.#completed(question) : undefined;
    const asAsked = (): MaybePromise<ChainReply> => this.#fromCluster(found, question);
    if (completed === undefined) return asAsked();
    return completed instanceof Promise ? completed.then((given) => given ?? asAsked()) : completed;
  }

  /**
   * What a client with the usual search list would find after more questions, under the name that it asked first. Where
   * it would find nothing, or nobody answers, it is told that this first name does not exist, and goes its own way.
   */
  #completed(question: ChainQuestion): MaybePromise<ChainReply | undefined> | undefined {
    const { block, kubernetes, namespaceOf } = this.parts;
    if (!block.autopath || kubernetes === undefined || question.depth > 0) return undefined;
    if (question.type !== type.A && question.type !== type.AAAA) return undefined;
    const { view } = kubernetes.content;
    const namespace = namespaceOf?.(question.client.address);
    const later = namespace === undefined ? undefined : laterNames(question.name, namespace, view.zone);
    if (later === undefined) return undefined;
    const under = (target: Name, reply: ChainReply): ChainReply => {
      const alias: DnsRecord = { name: question.name, ttl: view.ttl, data: { type: 'CNAME', target } };
      const answers = [alias, ...addressRecords(reply)];
      return records('autopath', { ...emptyReply(rcode.noError), answers, recursionAvailable: true });
    };
    for (const name of later.inside) {
      const found = kubernetes.answer(name, question.type);
      if (typeof found !== 'object' || found.rcode !== rcode.noError) continue;
      const reply = this.#fromCluster(found, { ...question, name });
      return reply instanceof Promise ? reply.then((given) => under(name, given)) : under(name, reply);
    }
    const outside = this.parts.lookup(later.outside, question);
    const given = (reply: ChainReply): ChainReply | undefined =>
      replyCode(reply) === rcode.noError ? under(later.outside, reply) : undefined;
    return outside instanceof Promise ? outside.then(given) : given(outside);
  }

  #fromCluster(found: Resolution, question: ChainQuestion): MaybePromise<ChainReply> {
    const reply = {
      ...emptyReply(found.rcode),
      ...found,
      answers: this.#rotated(found.answers),
      authoritative: true,
      recursionAvailable: this.parts.forwarders.length > 0,
    };
    if (found.chase === undefined) return records('kubernetes', reply);
    const target = this.parts.lookup(found.chase, question);
    const joined = (given: ChainReply): ChainReply =>
      records('kubernetes', { ...reply, answers: [...reply.answers, ...addressRecords(given)] });
    return target instanceof Promise ? target.then(joined) : joined(target);
  }

  /** Addresses take turns in being the first: most clients use that one only. */
  #rotated(answers: readonly DnsRecord[]): readonly DnsRecord[] {
    const aliases = answers.filter(({ data }) => data.type === 'CNAME').length;
    const rest = answers.slice(aliases);
    if (!this.parts.block.loadbalance || rest.length < 2) return answers;
    const start = this.#turns.next++ % rest.length;
    return [...answers.slice(0, aliases), ...rest.slice(start), ...rest.slice(0, start)];
  }

  #forward(question: ChainQuestion): MaybePromise<ChainReply> {
    const responsible = this.parts.forwarders.filter(
      ({ options: { from, except } }) => isWithinAny(question.name, [from]) && !isWithinAny(question.name, except),
    );
    if (responsible.length === 0) return this.#nobody(question);
    const ask = (): Promise<Outcome> => askInTurn(responsible, question);
    const { cache } = this.parts;
    const turn = this.parts.block.loadbalance ? this.#turns.next++ : 0;
    const reply = (outcome: CacheOutcome): ChainReply =>
      outcome.answer === undefined
        ? notAnswered(outcome.reason)
        : { by: outcome.cached ? 'cache' : 'forward', kind: 'message', cached: outcome, turn };
    const outcome = cache === undefined ? withoutCache(ask) : cache.get(question, ask);
    return outcome instanceof Promise ? outcome.then(reply) : reply(outcome);
  }

  /** No plugin is left to ask. */
  #nobody(question: ChainQuestion): ChainReply {
    if (this.parts.block.whoami) return whoami.reply(question);
    if (this.parts.forwarders.length > 0)
      return failure('', extended.noAuthority, 'no plugin of the Corefile answers for this name');
    // NXDOMAIN is what both resolvers take as final at once: musl does not look at REFUSED and waits for its 5 s to end,
    // and tries again at SERVFAIL; glibc reports both as "temporary failure".
    const explanation = { code: extended.noAuthority, text: noUpstream };
    return records('', { ...emptyReply(rcode.noSuchName, explanation), recursionAvailable: false });
  }
}

const withoutCache = async (ask: () => Promise<Outcome>) => {
  const outcome = await ask();
  return outcome.answer === undefined
    ? outcome
    : { ...outcome, stale: false, cached: false, ttl: (original: number) => original };
};

/** `next` goes on with the following `forward` after some codes. */
async function askInTurn(forwarders: readonly Forwarder[], question: ChainQuestion): Promise<Outcome> {
  let outcome: Outcome = { answer: undefined, reason: 'no-upstream' };
  for (const forwarder of forwarders) {
    outcome = await forwarder.ask(question, question.transport);
    const { next, nextOnNoData } = forwarder.options;
    const noData = outcome.answer?.rcode === rcode.noError && outcome.answer.answers === 0;
    const goesOn = outcome.answer !== undefined && (next.includes(outcome.answer.rcode) || (nextOnNoData && noData));
    if (!goesOn) return outcome;
  }
  return outcome;
}

function notAnswered(reason: Extract<Outcome, { answer: undefined }>['reason']): ChainReply {
  switch (reason) {
    case 'too-many':
      return failure(
        'forward',
        extended.other,
        'too many questions are on their way to the DNS upstream (max_concurrent)',
      );
    case 'no-upstream':
      // As where there is no forward at all: see #nobody.
      return records('forward', {
        ...emptyReply(rcode.noSuchName, { code: extended.noAuthority, text: 'the file of DNS upstreams names none' }),
        recursionAvailable: false,
      });
    case 'loop':
      return failure('forward', extended.noReachable, "every DNS upstream leads back to this cluster's own DNS");
    case 'no-answer':
      return failure('forward', extended.noReachable, 'no DNS upstream answered');
  }
}
