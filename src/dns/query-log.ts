// Who asked what and was answered how: for the plugin log and for those who follow it live. Costs nothing while nobody does.

import { isWithinAny } from './cache.ts';
import type { ClientAddress, PluginName } from './chain/reply.ts';
import type { LogOptions } from './corefile/config.ts';
import { classNames, rcodeName, typeName } from './corefile/values.ts';
import type { Name } from './records.ts';

/** One question and its answer. */
export interface QueryEvent {
  /** When it was answered, ms since 1970. */
  readonly time: number;
  readonly client: ClientAddress;
  readonly transport: 'udp' | 'tcp';
  readonly id: number;
  readonly opcode: number;
  readonly name: Name;
  readonly type: number;
  readonly class: number;
  /** Octets. */
  readonly size: number;
  readonly dnssecOk: boolean;
  /** How large an answer over UDP the client takes. */
  readonly bufferSize: number;
  readonly rcode: number;
  readonly flags: number;
  readonly answers: number;
  readonly answerSize: number;
  readonly seconds: number;
  /** The plugin that answered, and the upstream where it was one. */
  readonly by: PluginName;
  readonly from?: string;
}

/** Takes events and gives them to whoever follows. */
export class QueryLog {
  readonly #followers = new Set<(event: QueryEvent) => void>();
  readonly #onActive: () => void;

  /** `onActive` is called when somebody begins to follow, or ends. */
  constructor(onActive: () => void = () => {}) {
    this.#onActive = onActive;
  }

  /** Whether anybody follows: events need not be made otherwise. */
  get active(): boolean {
    return this.#followers.size > 0;
  }

  /** Calls the function for each event from now on, until the returned one is called. */
  follow(follower: (event: QueryEvent) => void): () => void {
    this.#followers.add(follower);
    this.#onActive();
    return () => {
      this.#followers.delete(follower);
      this.#onActive();
    };
  }

  add(event: QueryEvent): void {
    for (const follower of this.#followers) follower(event);
  }
}

/** Whether a `log` of the Corefile has this event. */
export function isLogged({ names, classes }: LogOptions, event: QueryEvent): boolean {
  return isWithinAny(event.name, names) && (classes.includes('all') || classes.includes(classOf(event)));
}

function classOf({ rcode, answers }: QueryEvent): 'success' | 'denial' | 'error' {
  if (rcode === 3 || (rcode === 0 && answers === 0)) return 'denial';
  return rcode === 0 ? 'success' : 'error';
}

const common =
  '{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" {rcode} {>rflags} {rsize} {duration}';
const formats: Readonly<Record<string, string>> = {
  '{common}': common,
  '{combined}': common.replace('{>id}', '{>id} {>opcode}'),
};

const flagNames: readonly (readonly [number, string])[] = [
  [0x8000, 'qr'],
  [0x0400, 'aa'],
  [0x0200, 'tc'],
  [0x0100, 'rd'],
  [0x0080, 'ra'],
  [0x0040, 'z'],
  [0x0020, 'ad'],
  [0x0010, 'cd'],
];

const classText = new Map(Object.entries(classNames).map(([name, code]) => [code, name]));

/** The line for an event in a format of CoreDNS's log; a placeholder that is not known is `-`. */
export function formatEvent(format: string, event: QueryEvent): string {
  return (formats[format] ?? format).replace(/\{[>/]?[\w/-]+\}/g, (placeholder) => placeholderText(placeholder, event));
}

function placeholderText(placeholder: string, event: QueryEvent): string {
  switch (placeholder) {
    case '{type}':
      return typeName(event.type);
    case '{class}':
      return classText.get(event.class) ?? `CLASS${event.class}`;
    case '{name}':
      return `${event.name}.`;
    case '{proto}':
      return event.transport;
    case '{remote}':
      return event.client.address.includes(':') ? `[${event.client.address}]` : event.client.address;
    case '{port}':
      return `${event.client.port}`;
    case '{size}':
      return `${event.size}`;
    case '{rcode}':
      return rcodeName(event.rcode);
    case '{rsize}':
      return `${event.answerSize}`;
    case '{duration}':
      return `${event.seconds.toFixed(9)}s`;
    case '{>id}':
      return `${event.id}`;
    case '{>opcode}':
      return `${event.opcode}`;
    case '{>do}':
      return `${event.dnssecOk}`;
    case '{>bufsize}':
      return `${event.bufferSize}`;
    case '{>rflags}':
      return flagNames.flatMap(([bit, name]) => ((event.flags & bit) === 0 ? [] : [name])).join(',');
    default:
      return '-';
  }
}
