// Finds upstreams that lead back to this cluster's own DNS, and leaves them out, with a warning instead of a crash.
import { randomBytes } from 'node:crypto';
import type { Log } from '../../log/log.ts';
import { readPlainRecords } from '../message.ts';
import { type DnsRecord, type Name, rcode, type } from '../records.ts';
import type { Reply } from '../wire.ts';
import { questionEnd } from '../wire.ts';
import type { Forwarder } from './forwarder.ts';
import type { Upstream } from './upstream.ts';

const probeLabel = 'weft-loop';
const answerText = 'this is the DNS of the cluster itself';
const againMs = 30_000;
/** While the mark is not known yet. */
const markMs = 200;

/**
 * Whether a name is a probe of this cluster. Every server of the cluster knows it by the mark, not only the one that
 * has sent it: an upstream may lead back to any of them.
 */
export const isLoopProbe = (name: Name, mark: string | undefined): boolean =>
  mark !== undefined &&
  name.startsWith(`${probeLabel}-`) &&
  new RegExp(`^${probeLabel}-[0-9a-f]{16}-${mark}(\\.|$)`).test(name);

/** The answer to a probe: it goes back the way that the question came. */
export function loopAnswer(name: Name): Reply {
  const answer: DnsRecord = { name, ttl: 0, data: { type: 'TXT', text: answerText } };
  return {
    rcode: rcode.noError,
    authoritative: true,
    recursionAvailable: true,
    answers: [answer],
    authorities: [],
    additionals: [],
  };
}

/** Probes the upstreams of a forwarder, now and from time to time; stops by the function that it returns. */
export function watchForLoops(forwarder: Forwarder, mark: () => string | undefined, log: Log): () => void {
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const round = async (): Promise<void> => {
    const known = mark();
    const { from } = forwarder.options;
    if (known !== undefined)
      await Promise.all(forwarder.upstreams.map((upstream) => probe(upstream, from, known, log)));
    if (stopped) return;
    timer = setTimeout(() => void round(), known === undefined ? markMs : againMs);
    timer.unref();
  };
  void round();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

async function probe(upstream: Upstream, zone: Name, mark: string, log: Log): Promise<void> {
  const label = `${probeLabel}-${randomBytes(8).toString('hex')}-${mark}`;
  const name = zone === '' ? label : `${label}.${zone}`;
  const asked = { name, type: type.TXT, class: 1, dnssecOk: false, checkingDisabled: false };
  const answer = await upstream.ask(asked, 'udp').catch(() => undefined);
  // Without an answer nothing is known: it stays as it is.
  if (answer === undefined) return;
  const records = readPlainRecords(answer.message, questionEnd(answer.message), answer.answers);
  const found = records.some((record) => record.type === type.TXT && record.data.includes(answerText));
  if (found && !upstream.excluded)
    log.warn({ upstream: upstream.text }, "this DNS upstream leads back to the cluster's own DNS and is left out");
  if (!found && upstream.excluded)
    log.info({ upstream: upstream.text }, "this DNS upstream no longer leads back to the cluster's own DNS");
  upstream.excluded = found;
}
