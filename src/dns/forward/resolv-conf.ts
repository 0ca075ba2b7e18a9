// The upstreams that a file in the form of resolv.conf(5) names; systemd-resolved's stub is looked through.
import { readFileSync } from 'node:fs';
import { parseIp } from '../../net/address.ts';
import type { ServerTarget } from './upstream.ts';

/** Where systemd-resolved writes whom it asks itself; its stub at 127.0.0.53 answers on its own machine only. */
const behindStub = '/run/systemd/resolve/resolv.conf';
const stub = '127.0.0.53';

/** The servers of the file in their order; none where it cannot be read. */
export function readResolvConf(
  path: string,
  read: (path: string) => string = (file) => readFileSync(file, 'utf8'),
): ServerTarget[] {
  const servers = nameServers(path, read);
  const through = servers.includes(stub) ? nameServers(behindStub, read) : [];
  const found = through.length > 0 ? servers.flatMap((server) => (server === stub ? through : [server])) : servers;
  return [...new Set(found)].flatMap((text): ServerTarget[] => {
    const address = parseIp(text);
    return address === undefined ? [] : [{ kind: 'server', protocol: 'dns', address, port: 53 }];
  });
}

function nameServers(path: string, read: (path: string) => string): string[] {
  try {
    return read(path)
      .split('\n')
      .flatMap((line) => /^\s*nameserver\s+([^\s#;]+)/.exec(line)?.[1]?.replace(/%.*/, '') ?? []);
  } catch {
    return [];
  }
}
