// Looks a name up as a program in a pod would, for real, and says of each step who answered and why.
import { typeNames } from '../corefile/values.ts';
import { type AskedAnswer, ask } from './ask.ts';
import type { Explainer, NameExplanation } from './explainer.ts';
import { namesTried, type ResolverSettings } from './resolver.ts';

/** One name that was asked for. */
export interface Step {
  readonly name: string;
  readonly type: string;
  /** The server that was asked. */
  readonly server: string;
  /** Undefined where none came; `problem` says why. */
  readonly answer?: AskedAnswer;
  readonly problem?: string;
  readonly explanation: NameExplanation;
  /** What else there is to say: the server is behind the objects, or another library would end here. */
  readonly notes: readonly string[];
}

export interface Lookup {
  readonly steps: readonly Step[];
  /** What the name leads to; empty where nothing was found. */
  readonly answers: readonly string[];
}

export interface LookupOptions {
  readonly name: string;
  readonly types: readonly string[];
  readonly resolver: ResolverSettings;
  /** The network namespace from which is asked. */
  readonly netns: string;
  readonly explainer: Explainer;
}

/** Asks for one name after the other until one has an answer, as glibc does. */
export async function lookup({ name, types, resolver, netns, explainer }: LookupOptions): Promise<Lookup> {
  const steps: Step[] = [];
  for (const tried of namesTried(name, resolver)) {
    const own = await Promise.all(types.map((type) => askStep({ name: tried, type, resolver, netns, explainer })));
    steps.push(...own);
    const answers = own.flatMap(({ type, answer }) =>
      (answer?.records ?? []).filter((record) => record.type === type).map(({ data }) => data),
    );
    if (answers.length > 0) return { steps, answers };
  }
  return { steps, answers: [] };
}

async function askStep(options: Omit<LookupOptions, 'types'> & { type: string }): Promise<Step> {
  const { name, type, resolver, netns, explainer } = options;
  const explanation = explainer.explain(name.toLowerCase(), type);
  const problems: string[] = [];
  for (const server of resolver.servers) {
    try {
      const answer = await ask(netns, server, name, typeNames[type] ?? 1);
      const meant = completedTo(name, answer);
      if (meant === undefined) return { name, type, server, answer, explanation, notes: notesOn(answer, explanation) };
      const own = explainer.explain(meant, type);
      const note = `the server has completed the search list at once: ${meant} is the name that is meant (autopath)`;
      return { name, type, server, answer, explanation: own, notes: [...answer.explanations, note] };
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
  }
  const problem = problems.join('; ') || 'no server is configured';
  return { name, type, server: resolver.servers[0] ?? '', problem, explanation, notes: [] };
}

/** The shorter name that an answer goes on with in place of one of the search list. */
function completedTo(name: string, { records: [first] }: AskedAnswer): string | undefined {
  if (first?.type !== 'CNAME' || first.name !== name.toLowerCase()) return undefined;
  const target = first.data.replace(/\.$/, '');
  return name.toLowerCase().startsWith(`${target}.`) ? target : undefined;
}

function notesOn(answer: AskedAnswer, { by, expected, why }: NameExplanation): string[] {
  // What the server says of itself is not said twice.
  const notes = answer.explanations.filter((text) => !why.includes(text));
  const isEmpty = answer.rcode === 'NOERROR' && answer.records.length === 0;
  if (isEmpty) notes.push('the name exists without such a record: musl (Alpine) ends its search here, glibc goes on');
  if (answer.truncated) notes.push('the answer was cut: clients ask again over TCP');
  if (by === 'kubernetes' && expected !== undefined && answer.rcode !== 'SERVFAIL') {
    const given = answer.records.flatMap(({ type, data }) => (type === 'A' || type === 'AAAA' ? [data] : []));
    const isSame = given.length === expected.length && expected.every((one) => given.includes(one));
    if (!isSame && !answer.truncated && !answer.records.some(({ type }) => type === 'CNAME'))
      notes.push(
        `the objects say ${expected.join(', ') || 'nothing'}: the server has not seen the last change, or another one answered`,
      );
  }
  return notes;
}
