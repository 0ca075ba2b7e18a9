// Asks the questions of cases.ts with real packets, all of them at once.
import { Asker } from './asker.ts';
import type { Client, PacketCase } from './cases.ts';
import type { Network } from './namespaces.ts';

/** In which namespace a client is, and the addresses that it has and asks from. */
const places: Readonly<Record<Client, { namespace: string; IPv4: string; IPv6: string }>> = {
  pod: { namespace: 'b', IPv4: '10.244.1.3', IPv6: 'fd44:1::3' },
  self: { namespace: 'a', IPv4: '10.244.1.2', IPv6: 'fd44:1::2' },
  node: { namespace: 'node', IPv4: '172.18.0.2', IPv6: 'fd18::2' },
  outside: { namespace: 'outside', IPv4: '172.18.0.9', IPv6: 'fd18::9' },
  visitor: { namespace: 'remote', IPv4: '10.244.2.9', IPv6: 'fd44:2::9' },
  neighbour: { namespace: 'remote', IPv4: '172.18.0.3', IPv6: 'fd18::3' },
};
const clients = Object.keys(places) as Client[];

/** How fast questions are asked. */
export interface Pace {
  /** Each so often at least, and at most until every endpoint that shall answer has done so. */
  readonly leastAsked: number;
  /** So many of one client at a time. */
  readonly atOnce: number;
}
const fast: Pace = { leastAsked: 6, atOnce: 8 };
const mostAsked = 60;

/** Servers for the endpoints a and c, in both families. */
export async function serveCases(network: Network): Promise<void> {
  await Promise.all([
    network.serve('a', 'a', 8080, '10.244.1.2'),
    network.serve('a', 'a', 8080, 'fd44:1::2'),
    network.serve('remote', 'c', 8080, '10.244.2.2'),
    network.serve('remote', 'c', 8080, 'fd44:2::2'),
  ]);
}

/** Asks all questions; one line for each that was not answered as expected. */
export async function wrongAnswers(
  network: Network,
  cases: readonly PacketCase[],
  pace: Pace = fast,
): Promise<string[]> {
  // ICMP errors are limited to few a second, and here many are wanted.
  network.run(
    'node',
    'sysctl',
    '-qw',
    'net.ipv4.icmp_ratelimit=0',
    'net.ipv6.icmp.ratelimit=0',
    'net.ipv4.icmp_msgs_per_sec=100000',
  );
  const wrong = await Promise.all(
    clients.map(async (client) => {
      const { namespace, IPv4, IPv6 } = places[client];
      // The kernel itself chooses from which address a node asks, as for any of its processes.
      const asker = new Asker(network, namespace, client === 'node' ? [] : [IPv4, IPv6]);
      const found = await askAll(
        asker,
        cases.filter(({ from }) => from === client),
        pace,
      );
      asker.end();
      return found;
    }),
  );
  return wrong.flat();
}

async function askAll(asker: Asker, cases: readonly PacketCase[], { leastAsked, atOnce }: Pace): Promise<string[]> {
  const answers = new Map(cases.map((one) => [one, [] as string[]]));
  const ask = async (one: PacketCase): Promise<void> => {
    const given = answers.get(one) ?? [];
    const count = typeof one.expected === 'string' ? 1 : leastAsked;
    do given.push(...(await Promise.all(Array.from({ length: count }, () => asker.ask(one)))));
    while (isOpen(one, given));
  };
  // What shall not be answered takes as long as the asker is patient, and all of it at once is not more than that.
  const isSilent = ({ expected }: PacketCase): boolean => expected === 'drop' || expected === 'silence';
  const silent = cases.filter(isSilent);
  const left = cases.filter((one) => !isSilent(one)).values();
  const inTurn = Array.from({ length: atOnce }, async () => {
    for (const one of left) await ask(one);
  });
  await Promise.all([...silent.map(ask), ...inTurn]);
  return [...answers].flatMap(([one, given]) => verdict(one, given) ?? []);
}

/** Whether an endpoint has not answered yet that may do so by chance. */
function isOpen({ expected }: PacketCase, answers: readonly string[]): boolean {
  if (typeof expected === 'string' || answers.length >= mostAsked) return false;
  const seen = new Set(answers.map((answer) => answer.split(' ')[0] ?? ''));
  return [...expected.keys()].some((letter) => !seen.has(letter)) && [...seen].every((name) => expected.has(name));
}

function verdict(one: PacketCase, answers: readonly string[]): string | undefined {
  const { title, expected, from, family } = one;
  const shown = [...new Set(answers.map((answer) => answer.split(' ').slice(0, 2).join(' ')))].sort();
  if (typeof expected === 'string')
    return shown.every((answer) => isRefusal(one, answer))
      ? undefined
      : `${title}: ${expected} expected, got ${shown.join(', ')}`;
  const names = [...new Set(answers.map((answer) => answer.split(' ')[0] ?? ''))].sort();
  const wanted = [...expected].map(([letter, isMasqueraded]) => `${letter}${isMasqueraded ? '*' : ''}`);
  const isRight =
    names.join() === [...expected.keys()].sort().join() &&
    answers.every((answer) => {
      const [name = '', address] = answer.split(' ');
      // Towards another node the address of this one is both its own and the masquerade's.
      if (from === 'node' && name === 'c') return true;
      return expected.get(name) === (address !== places[from][family]);
    });
  return isRight ? undefined : `${title}: ${wanted.join(' ')} expected, got ${shown.join(', ')}`;
}

function isRefusal({ expected, from, protocol }: PacketCase, answer: string): boolean {
  // The kernel tells a process of the node at once that its packet was not let out.
  if (answer === 'denied') return from === 'node' && protocol === 'udp';
  if (expected === 'silence') return answer === 'timeout' || answer === 'unreachable';
  return answer === (expected === 'drop' ? 'timeout' : 'refused');
}
