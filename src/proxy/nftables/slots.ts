// Decides the table of slots that one endpoint is chosen from: as many slots for an endpoint as its share. Pure.
import { type Backend, backendKey } from '../service-port.ts';

/** So many slots a table has at most; one for the choice by the client's address has as many. */
export const mostSlots = 1024;
/** More endpoints than this are left out: their slots would run into those for clients from outside. */
const mostBackends = 32_767;

/** One slot for each endpoint where all weigh the same, otherwise in proportion to their weights. */
export function weightedSlots(backends: readonly Backend[]): readonly Backend[] {
  const first = backends[0]?.weight;
  if (backends.every(({ weight }) => weight === first)) return backends.slice(0, mostBackends);
  const divisor = backends.reduce((sum, { weight }) => greatestDivisor(sum, weight), 0);
  const total = backends.reduce((sum, { weight }) => sum + weight, 0) / divisor;
  const scale = Math.min(1, mostSlots / total) / divisor;
  return backends.flatMap((backend) =>
    new Array<Backend>(Math.max(1, Math.round(backend.weight * scale))).fill(backend),
  );
}

const greatestDivisor = (a: number, b: number): number => (b === 0 ? a : greatestDivisor(b, a % b));

/**
 * `mostSlots` slots; each has the endpoint that scores highest there (rendezvous hashing, weighted). When an endpoint
 * goes, only its own slots get another one; when one comes, it takes slots and no other changes hands.
 */
export function stableSlots(backends: readonly Backend[]): Backend[] {
  const candidates = backends.map((backend) => ({ backend, seed: hash(backendKey(backend)) }));
  const slots: Backend[] = [];
  for (let slot = 0; slot < mostSlots; slot++) {
    let best: { backend: Backend; score: number } | undefined;
    for (const { backend, seed } of candidates) {
      const score = -backend.weight / Math.log(fraction(seed, slot));
      if (best === undefined || score > best.score) best = { backend, score };
    }
    if (best !== undefined) slots.push(best.backend);
  }
  return slots;
}

/** The FNV-1a hash of a text, 32 bits. */
export function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  return value >>> 0;
}

/** A number above 0 and below 1 for a seed in a slot: the mixing steps of MurmurHash3. */
function fraction(seed: number, slot: number): number {
  let value = seed ^ Math.imul(slot + 1, 0x9e3779b1);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  value ^= value >>> 16;
  return ((value >>> 0) + 0.5) / 0x1_0000_0000;
}
