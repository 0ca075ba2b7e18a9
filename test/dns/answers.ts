// What an answer says, as a codec that is not ours reads it.
import { type DecodedPacket, decode } from 'dns-packet';

/** The addresses in the answer section. */
export function readAllAddresses(message: Buffer): string[] {
  return (decode(message).answers ?? []).flatMap((answer) =>
    answer.type === 'A' || answer.type === 'AAAA' ? [answer.data] : [],
  );
}

export const readPacket = (message: Buffer): DecodedPacket => decode(message);
