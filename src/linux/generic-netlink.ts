// Generic netlink (linux/genetlink.h): a family of requests by its name, such as IPVS or wireguard.
import { failedWith } from './libc.ts';
import { attribute, type Message, Netlink, parseAttributes, text } from './netlink.ts';
import type { NetnsRef } from './netns.ts';

const NETLINK_GENERIC = 16;
const GENL_ID_CTRL = 16;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR = { familyId: 1, familyName: 2 };
const headerLength = 4;

/** A request of a family: its command, flags besides `request`, attributes. */
export interface GenericRequest {
  readonly command: number;
  readonly flags?: number;
  readonly attributes: readonly Buffer[];
  /** What it does, for the error's text. */
  readonly what: string;
}

/** The number of a 16-bit attribute in the byte order of the machine. */
export function u16(type: number, value: number): Buffer {
  const payload = Buffer.alloc(2);
  payload.writeUInt16LE(value);
  return attribute(type, payload);
}

function body(command: number, version: number): Buffer {
  return Buffer.from([command, version, 0, 0]);
}

/** One family of generic netlink, spoken to through a socket of its own in one network namespace. */
export class GenericNetlink implements Disposable {
  readonly #nl: Netlink;
  readonly #family: number;
  readonly #version: number;

  /**
   * Opens a socket in a namespace (the calling thread's own where none is given). Undefined where the kernel has no
   * such family; asking makes the kernel load the family's module where there is one.
   */
  static open(name: string, version: number, netns?: NetnsRef): GenericNetlink | undefined {
    const nl = Netlink.open(netns, NETLINK_GENERIC);
    const family = findFamily(nl, name);
    if (family !== undefined) return new GenericNetlink(nl, family, version);
    nl.close();
    return undefined;
  }

  private constructor(nl: Netlink, family: number, version: number) {
    this.#nl = nl;
    this.#family = family;
    this.#version = version;
  }

  #request({ command, ...rest }: GenericRequest): Parameters<Netlink['request']>[0] {
    return { type: this.#family, body: body(command, this.#version), ...rest };
  }

  /** Sends a request and returns when the kernel has done it. Throws a SystemCallError with the kernel's errno. */
  request(request: GenericRequest): void {
    this.#nl.request(this.#request(request));
  }

  /** Asks for one object: the attributes of each answer. */
  query(request: GenericRequest): Map<number, Buffer>[] {
    return this.#nl.query(this.#request(request)).map(attributesOf);
  }

  /** Asks for all objects of a kind: the attributes of each. */
  dump(request: GenericRequest): Map<number, Buffer>[] {
    return this.#nl.dump(this.#request(request)).map(attributesOf);
  }

  close(): void {
    this.#nl.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

const attributesOf = (message: Message): Map<number, Buffer> => parseAttributes(message.body.subarray(headerLength));

function findFamily(nl: Netlink, name: string): number | undefined {
  try {
    const what = `looking for the netlink family ${name}`;
    const attributes = [text(CTRL_ATTR.familyName, name)];
    const [answer] = nl.query({ type: GENL_ID_CTRL, body: body(CTRL_CMD_GETFAMILY, 1), attributes, what });
    return answer === undefined ? undefined : attributesOf(answer).get(CTRL_ATTR.familyId)?.readUInt16LE();
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return undefined;
    throw error;
  }
}
