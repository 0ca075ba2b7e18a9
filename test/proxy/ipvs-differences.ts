// What is otherwise in the mode ipvs than in the others, as docs/services.md says it. Data and a pure function.
import type { PacketCase } from './cases.ts';

/** A documented difference: which questions it is about, and what is answered to them. */
export interface Difference {
  /** The sentence of the documentation. */
  readonly says: string;
  /** The answer in this mode, where it is another one; undefined for questions that it is not about. */
  answer(one: PacketCase, all: readonly PacketCase[]): PacketCase['expected'] | undefined;
}

const external: readonly PacketCase['target'][] = ['NodePort', 'LoadBalancer', 'ExternalIP'];

export const differences: readonly Difference[] = [
  {
    says: 'Clients within the cluster reach the endpoints of the node alone, as those outside do, while there are any.',
    answer(one, all) {
      const isInside = one.from !== 'outside' && one.from !== 'neighbour';
      if (one.spec.externalTrafficPolicy !== 'Local' || !external.includes(one.target) || !isInside) return undefined;
      const isHere = all.some((other) => ruleOf(other) === ruleOf(one) && isAnsweredBy(other, 'a'));
      if (typeof one.expected === 'string' || !isHere) return undefined;
      return new Map([['a', one.from !== 'pod']]);
    },
  },
];

const ruleOf = ({ title }: PacketCase): string => title.slice(0, title.indexOf(': '));
const isAnsweredBy = ({ expected, target }: PacketCase, letter: string): boolean =>
  external.includes(target) && typeof expected !== 'string' && expected.has(letter);

/** The questions with the answers of this mode. */
export function withDifferences(cases: readonly PacketCase[]): PacketCase[] {
  return cases.map((one) => {
    const answer = differences.map((difference) => difference.answer(one, cases)).find((found) => found !== undefined);
    return answer === undefined ? one : { ...one, expected: answer };
  });
}
