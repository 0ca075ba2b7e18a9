// The plugins any, chaos and whoami, and the addresses in a reply.
import { hostname } from 'node:os';
import { familyOf, formatIp, parseIp } from '../../net/address.ts';
import type { ServerBlock } from '../corefile/config.ts';
import { type DnsRecord, type Name, rcode, type } from '../records.ts';
import { readName } from '../wire.ts';
import { type ChainQuestion, type ChainReply, emptyReply, records } from './reply.ts';

export const whoami = {
  /** The address, the port and the transport of who asks, as additional records (CoreDNS: whoami). */
  reply({ name, client, transport }: ChainQuestion): ChainReply {
    const ip = parseIp(client.address);
    const additionals: DnsRecord[] = [
      ...(ip === undefined
        ? []
        : [{ name, ttl: 0, data: { type: familyOf(ip) === 'IPv4' ? ('A' as const) : ('AAAA' as const), ip } }]),
      {
        name: `_${transport}.${name}`.replace(/\.$/, ''),
        ttl: 0,
        data: { type: 'SRV', priority: 0, weight: 0, port: client.port, target: '' },
      },
    ];
    return records('whoami', { ...emptyReply(rcode.noError), authoritative: true, additionals });
  },

  /** RFC 8482: a question for everything is answered with next to nothing. */
  anyReply({ name }: ChainQuestion): ChainReply {
    const answers: DnsRecord[] = [
      { name, ttl: 8482, data: { type: 'HINFO', cpu: 'ANY obsoleted', os: 'See RFC 8482' } },
    ];
    return records('any', { ...emptyReply(rcode.noError), authoritative: true, answers });
  },
};

/** The class CH (RFC 1035 section 3.2.4), in which servers speak of themselves (RFC 4892). */
export const classChaos = 3;

/** The plugin chaos: which server this is; undefined for what it does not know. */
export function chaosReply(
  { version, authors }: ChaosOptions,
  { name, type: asked }: ChainQuestion,
): ChainReply | undefined {
  if (asked !== type.TXT) return undefined;
  const texts = chaosTexts(name, version, authors);
  if (texts === undefined) return undefined;
  const answers = texts.map((text): DnsRecord => ({ name, ttl: 0, class: classChaos, data: { type: 'TXT', text } }));
  return records('chaos', { ...emptyReply(rcode.noError), authoritative: true, answers });
}

type ChaosOptions = NonNullable<ServerBlock['chaos']>;

function chaosTexts(name: Name, version: string, authors: readonly string[]): readonly string[] | undefined {
  switch (name) {
    case 'version.bind':
    case 'version.server':
      return [version];
    case 'hostname.bind':
    case 'id.server':
      return [hostname()];
    case 'authors.bind':
      return authors.length > 0 ? authors : undefined;
    default:
      return undefined;
  }
}

/** The aliases and addresses of a reply, as records of our own. */
export function addressRecords(reply: ChainReply): DnsRecord[] {
  if (reply.kind === 'records') return [...reply.reply.answers];
  const { answer, ttl } = reply.cached;
  return answer.places
    .slice(0, answer.answers)
    .flatMap(({ name, type: code, ttl: seconds, ttlAt, data }): DnsRecord[] => {
      const base = { name, ttl: ttl(seconds) };
      if (code === type.CNAME)
        return [{ ...base, data: { type: 'CNAME', target: readName(answer.message, ttlAt + 6).name } }];
      const family =
        code === type.A && data.length === 4 ? 'IPv4' : code === type.AAAA && data.length === 16 ? 'IPv6' : undefined;
      if (family === undefined) return [];
      const ip = formatIp(BigInt(`0x${data.toString('hex')}`), family);
      return [{ ...base, data: { type: family === 'IPv4' ? 'A' : 'AAAA', ip } }];
    });
}
