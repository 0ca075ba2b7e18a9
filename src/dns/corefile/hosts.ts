// Reads the plugin hosts of a Corefile, and the lines of hosts(5) that it and its file have. Pure.
import { parseIp } from '../../net/address.ts';
import type { Directive } from './blocks.ts';
import type { HostsEntry, HostsOptions } from './config.ts';
import { readFallthrough } from './kubernetes.ts';
import { CorefileError } from './tokens.ts';
import { expectArguments, readDuration, readWhole } from './values.ts';
import { isName, readZones } from './zones.ts';

const defaultFile = '/etc/hosts';
const defaultTtl = 3600;
const defaultReloadMs = 5000;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** The options of `hosts [FILE [ZONES…]]`. */
export function readHosts(directive: Directive): HostsOptions {
  const [file = defaultFile, ...zones] = directive.args;
  const entries: HostsEntry[] = [];
  const found: Mutable<HostsOptions> = {
    line: directive.line,
    file,
    entries,
    zones: readZones(zones, directive.line),
    ttl: defaultTtl,
    reverse: true,
    reloadMs: defaultReloadMs,
  };
  for (const option of directive.options) {
    switch (option.name) {
      case 'ttl':
        expectArguments(option, 1);
        found.ttl = readWhole(option, option.args[0] ?? '', 1, 65_535);
        break;
      case 'no_reverse':
        expectArguments(option, 0);
        found.reverse = false;
        break;
      case 'reload':
        expectArguments(option, 1);
        found.reloadMs = readDuration(option, option.args[0] ?? '');
        break;
      case 'fallthrough':
        found.fallthrough = readFallthrough(option);
        break;
      default: {
        const entry = readEntry([option.name, ...option.args]);
        if (entry === undefined)
          throw new CorefileError(
            option.line,
            `hosts: '${[option.name, ...option.args].join(' ')}' is no entry such as '10.0.0.1 example.org', and no option`,
          );
        entries.push(entry);
      }
    }
  }
  return found;
}

/** The entries of a file in the form of hosts(5); lines that are none are left out, as everywhere. */
export function readHostsFile(text: string): HostsEntry[] {
  return text.split('\n').flatMap((line) => {
    const words = line.replace(/#.*/, '').trim().split(/\s+/);
    return readEntry(words) ?? [];
  });
}

function readEntry([first = '', ...others]: readonly string[]): HostsEntry | undefined {
  // A zone of an IPv6 address (fe80::1%eth0) is meaningful on one machine only.
  const address = parseIp(first.replace(/%.*/, ''));
  const names = others
    .map((name) => name.toLowerCase().replace(/\.$/, ''))
    .filter((name) => name !== '' && isName(name));
  return address === undefined || names.length === 0 ? undefined : { address, names };
}
