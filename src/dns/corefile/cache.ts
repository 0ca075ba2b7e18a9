// Reads the plugin cache of a Corefile. Pure.
import type { Directive, OptionLine } from './blocks.ts';
import type { CacheLimits, CacheOptions } from './config.ts';
import { CorefileError } from './tokens.ts';
import { expectArguments, readDuration, readWhole, readWord } from './values.ts';
import { readZones } from './zones.ts';

const defaultCapacity = 9984;
const smallestCapacity = 1024;
const longestServfailMs = 300_000;
const longestTtl = { success: 3600, denial: 1800 } as const;
const shortestTtl = 5;
const hour = 3_600_000;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** The options of `cache [TTL] [ZONES…]`. */
export function readCache(directive: Directive): CacheOptions {
  const [first = '', ...others] = directive.args;
  const given = /^\d+$/.test(first) ? readWhole(directive, first, 1, 2 ** 31) : undefined;
  const zones = readZones(given === undefined ? directive.args : others, directive.line);
  const limits = (kind: 'success' | 'denial'): CacheLimits => ({
    capacity: defaultCapacity,
    maxTtl: given ?? longestTtl[kind],
    // What may be kept for a shorter time than the shortest is kept no longer than it may.
    minTtl: Math.min(shortestTtl, given ?? shortestTtl),
  });
  const found: Mutable<CacheOptions> = {
    line: directive.line,
    zones,
    success: limits('success'),
    denial: limits('denial'),
    servfailMs: 5000,
    disableSuccess: [],
    disableDenial: [],
    keepTtl: false,
  };
  for (const option of directive.options) readOption(option, found);
  return found;
}

function readOption(option: OptionLine, found: Mutable<CacheOptions>): void {
  const { args, line } = option;
  switch (option.name) {
    case 'success':
      found.success = readLimits(option, found.success);
      break;
    case 'denial':
      found.denial = readLimits(option, found.denial);
      break;
    case 'prefetch':
      found.prefetch = readPrefetch(option);
      break;
    case 'serve_stale':
      expectArguments(option, 0, 2);
      found.serveStale = {
        forMs: args[0] === undefined ? hour : readDuration(option, args[0]),
        mode: readWord(option, args[1] ?? 'immediate', ['immediate', 'verify']),
      };
      break;
    case 'servfail':
      expectArguments(option, 1);
      found.servfailMs = readDuration(option, args[0] ?? '');
      if (found.servfailMs > longestServfailMs) throw new CorefileError(line, 'servfail: 5m is the most');
      break;
    case 'disable': {
      expectArguments(option, 1, Number.POSITIVE_INFINITY);
      const zones = args.length > 1 ? readZones(args.slice(1), line) : [''];
      if (readWord(option, args[0], ['success', 'denial']) === 'success') found.disableSuccess = zones;
      else found.disableDenial = zones;
      break;
    }
    case 'keepttl':
      expectArguments(option, 0);
      found.keepTtl = true;
      break;
    default:
      throw new CorefileError(line, `cache: the option ${option.name} is not supported`);
  }
}

function readLimits(option: OptionLine, before: CacheLimits): CacheLimits {
  expectArguments(option, 1, 3);
  const [capacity = '', maxTtl, minTtl] = option.args;
  const most = maxTtl === undefined ? before.maxTtl : readWhole(option, maxTtl, 1, 2 ** 31);
  return {
    capacity: Math.max(smallestCapacity, readWhole(option, capacity, 0, 2 ** 31)),
    maxTtl: most,
    minTtl: Math.min(most, minTtl === undefined ? before.minTtl : readWhole(option, minTtl, 0, 2 ** 31)),
  };
}

/** `prefetch AMOUNT [DURATION [PERCENTAGE%]]`. */
function readPrefetch(option: OptionLine): NonNullable<CacheOptions['prefetch']> {
  expectArguments(option, 1, 3);
  const [amount = '', pause, percentage = '10%'] = option.args;
  if (!percentage.endsWith('%')) throw new CorefileError(option.line, `prefetch: '${percentage}' must end with %`);
  return {
    amount: readWhole(option, amount, 0, 2 ** 31),
    pauseMs: pause === undefined ? 60_000 : readDuration(option, pause),
    percentage: readWhole(option, percentage.slice(0, -1), 10, 90),
  };
}
