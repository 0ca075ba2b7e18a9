// Two connections made into one: bytes both ways, with back-pressure, each side's end passed on.
import type { Duplex } from 'node:stream';

/** `head` of a side is what was read of it already. */
export function tunnel(a: Duplex, headOfA: Buffer, b: Duplex, headOfB: Buffer): void {
  const both = [a, b];
  for (const side of both) {
    side.on('error', () => {
      for (const one of both) one.destroy();
    });
    side.on('close', () => {
      for (const one of both) if (one !== side) one.destroy();
    });
    // Interactive sessions send single keys: they must not wait for more (Nagle's algorithm).
    if ('setNoDelay' in side && typeof side.setNoDelay === 'function') side.setNoDelay(true);
  }
  if (headOfA.length > 0) b.write(headOfA);
  if (headOfB.length > 0) a.write(headOfB);
  a.pipe(b);
  b.pipe(a);
}
