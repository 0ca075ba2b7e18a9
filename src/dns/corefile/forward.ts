// Reads the plugin forward of a Corefile: whom to ask, in which order, and when another one. Pure but for PEM files.
import { isIPv6 } from 'node:net';
import { parseIp } from '../../net/address.ts';
import type { Directive, OptionLine } from './blocks.ts';
import type { ForwardOptions, ForwardTarget } from './config.ts';
import { CorefileError, type Problem } from './tokens.ts';
import { expectArguments, readDuration, readRcode, readWhole, readWord } from './values.ts';
import { readName, readZones } from './zones.ts';

/** Reads a file that a Corefile names; throws where it cannot be read. */
export type ReadFile = (path: string) => string;

const mostTargets = 15;
const many = 2 ** 31;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** The options of `forward FROM TO…`. */
export function readForward(directive: Directive, readFile: ReadFile, warnings: Problem[]): ForwardOptions {
  const { args, line } = directive;
  expectArguments(directive, 2, mostTargets + 1);
  const [from = ''] = readZones([args[0] ?? ''], line);
  const found: Mutable<ForwardOptions> = {
    line,
    from,
    to: [],
    except: [],
    policy: 'random',
    forceTcp: false,
    preferUdp: false,
    maxFails: 2,
    expireMs: 10_000,
    healthCheckMs: 500,
    healthRecursion: true,
    healthDomain: '',
    maxConcurrent: 0,
    maxConnectAttempts: 0,
    next: [],
    nextOnNoData: false,
    failover: [],
    failFast: false,
    tls: {},
  };
  let serverName: string | undefined;
  for (const option of directive.options) {
    if (option.name === 'tls_servername') {
      expectArguments(option, 1);
      serverName = readName(option.args[0] ?? '', option.line);
    } else readOption(option, found, readFile, warnings);
  }
  found.to = args.slice(1).map((text) => readTarget(text, serverName, line));
  return found;
}

function readOption(option: OptionLine, found: Mutable<ForwardOptions>, readFile: ReadFile, warnings: Problem[]): void {
  const { args, line } = option;
  const whole = (): number => {
    expectArguments(option, 1);
    return readWhole(option, args[0] ?? '', 0, many);
  };
  switch (option.name) {
    case 'except':
      expectArguments(option, 1, Number.POSITIVE_INFINITY);
      found.except = [...found.except, ...readZones(args, line)];
      break;
    case 'force_tcp':
      found.forceTcp = true;
      break;
    case 'prefer_udp':
      found.preferUdp = true;
      break;
    case 'max_fails':
      found.maxFails = whole();
      break;
    case 'max_concurrent':
      found.maxConcurrent = whole();
      break;
    case 'max_connect_attempts':
      found.maxConnectAttempts = whole();
      break;
    case 'max_idle_conns':
      expectArguments(option, 1);
      warnings.push({ line, text: 'forward: max_idle_conns has no effect: one connection to an upstream serves all' });
      break;
    case 'expire':
      expectArguments(option, 1);
      found.expireMs = readDuration(option, args[0] ?? '');
      break;
    case 'policy':
      expectArguments(option, 1);
      found.policy = readWord(option, args[0], ['random', 'round_robin', 'sequential']);
      break;
    case 'health_check':
      readHealthCheck(option, found);
      break;
    case 'next':
      expectArguments(option, 1, Number.POSITIVE_INFINITY);
      found.next = args.map((text) => readRcode(option, text));
      break;
    case 'next_on_nodata':
      found.nextOnNoData = true;
      break;
    case 'failover':
      expectArguments(option, 1, Number.POSITIVE_INFINITY);
      found.failover = args.map((text) => readRcode(option, text));
      if (found.failover.includes(0)) throw new CorefileError(line, 'failover: NOERROR is no failure');
      break;
    case 'failfast_all_unhealthy_upstreams':
      found.failFast = true;
      break;
    case 'tls':
      found.tls = readTls(option, readFile);
      break;
    default:
      throw new CorefileError(line, `forward: the option ${option.name} is not supported`);
  }
}

function readHealthCheck(option: OptionLine, found: Mutable<ForwardOptions>): void {
  expectArguments(option, 1, 4);
  found.healthCheckMs = readDuration(option, option.args[0] ?? '');
  for (let at = 1; at < option.args.length; at++) {
    const word = readWord(option, option.args[at], ['no_rec', 'domain']);
    if (word === 'no_rec') found.healthRecursion = false;
    else found.healthDomain = readName(option.args[++at] ?? '', option.line);
  }
}

/** `tls`, `tls CA`, `tls CERT KEY`, `tls CERT KEY CA`. */
function readTls(option: OptionLine, readFile: ReadFile): ForwardOptions['tls'] {
  expectArguments(option, 0, 3);
  const [first, second, third] = option.args.map((path) => {
    try {
      return readFile(path);
    } catch (error) {
      throw new CorefileError(
        option.line,
        `tls: ${path} cannot be read: ${error instanceof Error ? error.message : ''}`,
      );
    }
  });
  if (first === undefined) return {};
  if (second === undefined) return { ca: first };
  return { certificate: first, key: second, ...(third !== undefined && { ca: third }) };
}

/** An upstream as `10.0.0.53`, `10.0.0.53:5353`, `[fd00::53]:5353`, `tls://9.9.9.9%dns.quad9.net`, or a file. */
export function readTarget(text: string, serverName: string | undefined, line: number): ForwardTarget {
  if (text.startsWith('/')) return { kind: 'file', path: text };
  const [, scheme = 'dns', rest = ''] = /^(?:([a-z0-9]+):\/\/)?(.*)$/is.exec(text) ?? [];
  const protocol = scheme.toLowerCase();
  if (protocol !== 'dns' && protocol !== 'tls')
    throw new CorefileError(
      line,
      `forward: ${text}: upstreams by ${scheme}:// are not supported; dns:// and tls:// are`,
    );
  const bare = isIPv6(rest);
  const [, bracketed, plain, own, portText] =
    (bare ? undefined : /^(?:\[([^\]]+)\]|([^[\]:%]+))(?:%([^:%]+))?(?::(\d{1,5}))?$/.exec(rest)) ?? [];
  const address = parseIp(bare ? rest : (bracketed ?? plain ?? ''));
  const port = portText === undefined ? (protocol === 'tls' ? 853 : 53) : Number(portText);
  if (address === undefined || port < 1 || port > 65_535)
    throw new CorefileError(
      line,
      `forward: '${text}' is no address of a DNS server such as 10.0.0.53, [fd00::53]:5353 or tls://10.0.0.53, and no file`,
    );
  if (own !== undefined && protocol !== 'tls')
    throw new CorefileError(line, `forward: ${text}: only tls:// has a name for its server`);
  if (own !== undefined && serverName !== undefined)
    throw new CorefileError(line, `forward: ${text} has a name for its server, and so has tls_servername`);
  const name = own === undefined ? serverName : readName(own, line);
  return {
    kind: 'server',
    protocol,
    address,
    port,
    ...(protocol === 'tls' && name !== undefined && { serverName: name }),
  };
}
