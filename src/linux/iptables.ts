// iptables as typed data, and its rendering to the language of iptables-restore(8). Pure; iptables-run.ts hands the text
// to the kernel.
import { type Cidr, familyOf, type Ip, type Port } from '../net/address.ts';
import type { L4Protocol } from './nft.ts';

export type IptablesTable = 'filter' | 'nat' | 'mangle';

type ConnectionState = 'NEW' | 'RELATED' | 'ESTABLISHED' | 'INVALID' | 'DNAT';

/** One condition of a rule; those of a rule are rendered in their order. See iptables-extensions(8). */
export type Match =
  | { readonly match: 'comment'; readonly text: string }
  | { readonly match: 'protocol'; readonly protocol: L4Protocol }
  | { readonly match: 'destination port'; readonly port: Port }
  | { readonly match: 'source' | 'destination'; readonly range: Ip | Cidr; readonly not?: true }
  | { readonly match: 'source type'; readonly type: 'LOCAL' }
  | { readonly match: 'destination type'; readonly type: 'LOCAL'; readonly not?: true }
  | { readonly match: 'state'; readonly states: readonly ConnectionState[]; readonly not?: true }
  /** The bits of the mark that `mask` names are those of `value`. */
  | { readonly match: 'mark'; readonly value: number; readonly mask: number; readonly not?: true }
  /** Notes the source address in a list of the kernel. */
  | { readonly match: 'note source'; readonly list: string }
  /** The source address was noted in that list within so many seconds. */
  | { readonly match: 'noted source'; readonly list: string; readonly seconds: number }
  /** So large a part of all packets, at random. */
  | { readonly match: 'share'; readonly part: number; readonly of: number }
  /**
   * The hash of the source address that the connection began with has this one of 32 values, 0 to 31. (Several of them at
   * once are a mask for the kernel, of which iptables 1.8 lets only the lowest bits pass.)
   */
  | { readonly match: 'source hash'; readonly seed: number; readonly value: number }
  /** The packet is in an ipset by these of its parts. */
  | { readonly match: 'set'; readonly set: string; readonly by: readonly ('src' | 'dst')[]; readonly not?: true }
  | { readonly match: 'outgoing link'; readonly link: string; readonly not?: true };

/** What a rule does with a packet that all its conditions hold for. */
export type Target =
  | { readonly to: 'ACCEPT' | 'DROP' | 'REJECT' | 'RETURN' }
  | { readonly to: 'chain'; readonly chain: string }
  | { readonly to: 'set mark bits' | 'flip mark bits'; readonly bits: number }
  /** With a source port chosen fully at random: two at once then seldom ask for the same one. */
  | { readonly to: 'MASQUERADE' }
  | { readonly to: 'DNAT'; readonly address: Ip; readonly port: Port };

/** Without a target a rule only counts. */
export interface IptablesRule {
  readonly matches: readonly Match[];
  readonly target?: Target;
}

/** A chain of our own with all that is to be in it. */
export interface IptablesChain {
  readonly name: string;
  /** Rules as {@link ruleText} gives them. */
  readonly rules: readonly string[];
}

/** What is to be done with one table, in one transaction. */
export interface TableChange {
  readonly table: IptablesTable;
  /** Chains that get these rules and lose all others; they are made where they are missing. */
  readonly chains: readonly IptablesChain[];
  /** Rules put before all others of a chain that is not ours, the last of them first. */
  readonly prepended?: readonly { readonly chain: string; readonly rule: string }[];
  /** Rules of chains that are not ours, as iptables-save(8) wrote them. */
  readonly removed?: readonly { readonly chain: string; readonly rule: string }[];
  /** Chains that go, with all their rules. */
  readonly deleted?: readonly string[];
}

/** The input of iptables-restore(8), to be run with --noflush. */
export function restoreText(changes: readonly TableChange[]): string {
  const lines: string[] = [];
  for (const { table, chains, prepended = [], removed = [], deleted = [] } of changes) {
    lines.push(`*${table}`);
    // A chain that goes is declared too: that empties it, and a chain must be empty to go.
    for (const name of [...chains.map((chain) => chain.name), ...deleted]) lines.push(`:${chainName(name)} - [0:0]`);
    for (const { chain, rule } of removed) lines.push(`-D ${chain} ${rule}`);
    for (const { chain, rule } of prepended) lines.push(`-I ${chain} 1 ${rule}`);
    for (const { name, rules } of chains) for (const rule of rules) lines.push(`-A ${name} ${rule}`);
    for (const name of deleted) lines.push(`-X ${name}`);
    lines.push('COMMIT');
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

/** Of iptables: XT_EXTENSION_MAXNAMELEN. */
const longestChainName = 28;

function chainName(name: string): string {
  if (name.length > longestChainName || !/^[A-Za-z][\w-]*$/.test(name))
    throw new RangeError(`'${name}' is no name of a chain of iptables`);
  return name;
}

/** A rule in the language of iptables, without the chain. */
export function ruleText({ matches, target }: IptablesRule): string {
  return [...matches.map(matchText), ...(target === undefined ? [] : [targetText(target)])].join(' ');
}

const not = (match: { readonly not?: true }): string => (match.not ? '! ' : '');
const hex = (value: number): string => `0x${value.toString(16)}`;

function matchText(match: Match): string {
  switch (match.match) {
    case 'comment':
      return `-m comment --comment ${commentText(match.text)}`;
    case 'protocol':
      return `-m ${match.protocol} -p ${match.protocol}`;
    case 'destination port':
      return `--dport ${match.port}`;
    case 'source':
      return `${not(match)}-s ${match.range}`;
    case 'destination':
      return `${not(match)}-d ${match.range}`;
    case 'source type':
      return `-m addrtype --src-type ${match.type}`;
    case 'destination type':
      return `-m addrtype ${not(match)}--dst-type ${match.type}`;
    case 'state':
      return `-m conntrack ${not(match)}--ctstate ${match.states.join(',')}`;
    case 'mark':
      return `-m mark ${not(match)}--mark ${hex(match.value)}/${hex(match.mask)}`;
    case 'note source':
      return `-m recent --name ${chainName(match.list)} --set`;
    case 'noted source':
      return `-m recent --name ${chainName(match.list)} --rcheck --seconds ${match.seconds} --reap`;
    case 'share':
      return `-m statistic --mode random --probability ${(match.part / match.of).toFixed(10)}`;
    case 'source hash':
      return `-m cluster --cluster-total-nodes 32 --cluster-local-node ${match.value + 1} --cluster-hash-seed ${hex(match.seed)}`;
    case 'set':
      return `-m set ${not(match)}--match-set ${setName(match.set)} ${match.by.join(',')}`;
    case 'outgoing link':
      return `${not(match)}-o ${linkName(match.link)}`;
  }
}

function targetText(target: Target): string {
  switch (target.to) {
    case 'chain':
      return `-j ${chainName(target.chain)}`;
    case 'set mark bits':
      return `-j MARK --or-mark ${hex(target.bits)}`;
    case 'flip mark bits':
      return `-j MARK --xor-mark ${hex(target.bits)}`;
    case 'MASQUERADE':
      return '-j MASQUERADE --random-fully';
    case 'DNAT':
      return `-j DNAT --to-destination ${hostPort(target.address, target.port)}`;
    default:
      return `-j ${target.to}`;
  }
}

/** An address with a port, as iptables and kube-proxy write it. */
function hostPort(address: Ip, port: Port): string {
  return familyOf(address) === 'IPv4' ? `${address}:${port}` : `[${address}]:${port}`;
}

/** Of xt_comment: XT_MAX_COMMENT_LEN, with the closing zero. */
const longestComment = 255;

/** In quotes where it is more than one word; what could end the quotes is no letter of a comment. */
function commentText(text: string): string {
  const plain = text.replaceAll(/[^ \w./:;,>()+='-]/g, '?').slice(0, longestComment);
  return /^[\w./:-]+$/.test(plain) ? plain : `"${plain}"`;
}

function setName(name: string): string {
  if (name.length > 31 || !/^[A-Za-z][\w-]*$/.test(name)) throw new RangeError(`'${name}' is no name of an ipset`);
  return name;
}

function linkName(name: string): string {
  if (name.length > 15 || !/^[\w.-]+$/.test(name)) throw new RangeError(`'${name}' is no name of a link`);
  return name;
}
