// What BIRD says about its sessions and routes (`show protocols all`, `show route`), as typed data. Pure.
import { type Cidr, type Ip, parseCidr, parseIp } from '../../net/address.ts';
import type { ReplyLine } from './control.ts';

export interface SessionStatus {
  readonly name: string;
  readonly neighbor: Ip;
  readonly neighborAs: number;
  /** Of the BGP state machine (RFC 4271): Idle, Connect, Active, OpenSent, OpenConfirm, Established; or Down. */
  readonly state: string;
  /** When it came into that state, or an attempt was last made: ISO 8601. */
  readonly since: string;
  /** Routes that the neighbour told and that are taken; that it was told. */
  readonly imported: number;
  readonly exported: number;
  /** Routes that it told and that the filter refused. */
  readonly filtered: number;
  /** What went wrong last, in BIRD's words. */
  readonly lastError?: string;
}

interface Block {
  readonly name: string;
  readonly kind: string;
  readonly since: string;
  readonly details: string[];
}

/** The BGP sessions in a reply to `show protocols all`, in its order. */
export function parseSessions(lines: readonly ReplyLine[]): SessionStatus[] {
  const blocks: Block[] = [];
  for (const { code, text } of lines) {
    if (code === 1002) {
      const [name = '', kind = '', , , since = ''] = text.split(/\s+/);
      blocks.push({ name, kind, since: isoTime(since), details: [] });
    } else if (code === 1006) blocks.at(-1)?.details.push(text);
  }
  return blocks.flatMap((block) => (block.kind === 'BGP' ? (sessionOf(block) ?? []) : []));
}

function sessionOf({ name, since, details }: Block): SessionStatus | undefined {
  const field = (label: string): string | undefined => {
    const line = details.find((one) => one.trimStart().startsWith(`${label}:`));
    return line?.slice(line.indexOf(':') + 1).trim();
  };
  const neighbor = parseIp((field('Neighbor address') ?? '').split('%')[0] ?? '');
  if (neighbor === undefined) return undefined;
  const routes = field('Routes') ?? '';
  const count = (word: string): number => Number(new RegExp(`(\\d+) ${word}`).exec(routes)?.[1] ?? 0);
  const lastError = field('Last error');
  return {
    name,
    neighbor,
    neighborAs: Number(field('Neighbor AS') ?? 0),
    state: field('BGP state') ?? 'Unknown',
    since,
    imported: count('imported'),
    exported: count('exported'),
    filtered: count('filtered'),
    ...(lastError !== undefined && { lastError }),
  };
}

/** `2026-11-21T07:43:50+0000` as other programs read it. */
function isoTime(text: string): string {
  const time = Date.parse(text.replace(/([+-]\d\d)(\d\d)$/, '$1:$2'));
  return Number.isNaN(time) ? text : new Date(time).toISOString().replace('.000Z', 'Z');
}

/** The destinations in a reply to `show route`. */
export function parseDestinations(lines: readonly ReplyLine[]): Set<Cidr> {
  return new Set(
    lines.flatMap(({ code, text }) => (code === 1007 ? (parseCidr(text.split(/\s/)[0] ?? '') ?? []) : [])),
  );
}
