// The plugin rewrite: changes a question before it is answered, and turns the change round in the answer.

import type { AnswerRule, NameMatch, RewriteRule } from '../corefile/config.ts';
import type { UpstreamAnswer } from '../forward/answer.ts';
import { encodeAnyName, mapDataNames, type PlainRecord, readPlainRecords, writePlainRecord } from '../message.ts';
import type { Name } from '../records.ts';
import { questionEnd, readRecords } from '../wire.ts';
import { mapRecordNames } from './kubernetes.ts';
import type { ChainQuestion, ChainReply } from './reply.ts';

/** A question that rules have changed, and what is to become of its answer. */
export interface Rewritten {
  readonly question: ChainQuestion;
  /** Changes the answer; in the order of the rules, turned round. */
  revert(reply: ChainReply): ChainReply;
}

/** Changes of one answer: owner names, names within data, TTLs and the code. */
interface Change {
  name?(name: Name): Name;
  value?(name: Name): Name;
  ttl?(ttl: number): number;
  rcode?(code: number): number;
}

/** What the rules make of a question; undefined where none of them concerns it. */
export function rewrite(rules: readonly RewriteRule[], original: ChainQuestion): Rewritten | undefined {
  let question = original;
  const changes: Change[] = [];
  for (const rule of rules) {
    const applied = apply(rule, question);
    if (applied === undefined) continue;
    question = applied.question;
    if (applied.change !== undefined) changes.unshift(applied.change);
    if (rule.next === 'stop') break;
  }
  if (question === original && changes.length === 0) return undefined;
  return { question, revert: (reply) => revert(reply, original, changes) };
}

function apply(rule: RewriteRule, question: ChainQuestion): { question: ChainQuestion; change?: Change } | undefined {
  switch (rule.kind) {
    case 'name': {
      const name = substituted(rule.match, rule.to, question.name);
      if (name === undefined) return undefined;
      const change =
        rule.answer === 'auto' ? turnedRound(rule.match, rule.to, question.name, name) : byRules(rule.answer);
      return { question: { ...question, name }, change };
    }
    case 'type':
      return question.type === rule.from ? { question: { ...question, type: rule.to } } : undefined;
    case 'class':
      return question.class === rule.from ? { question: { ...question, class: rule.to } } : undefined;
    case 'ttl':
      return matches(rule.match, question.name)
        ? { question, change: { ttl: (ttl) => Math.min(rule.most, Math.max(rule.least, ttl)) } }
        : undefined;
    case 'rcode':
      return matches(rule.match, question.name)
        ? { question, change: { rcode: (code) => (code === rule.from ? rule.to : code) } }
        : undefined;
  }
}

const absolute = (name: Name): string => `${name}.`;
const relative = (name: string): Name => name.toLowerCase().replace(/\.$/, '');

function matches(match: NameMatch, name: Name): boolean {
  return substituted(match, '', name) !== undefined;
}

/** The name that takes the place of this one; undefined where the rule does not concern it. */
function substituted(match: NameMatch, to: string, name: Name): Name | undefined {
  const text = absolute(name);
  switch (match.kind) {
    case 'exact':
      return text === match.text ? relative(to) : undefined;
    case 'prefix':
      return text.startsWith(match.text) ? relative(to + text.slice(match.text.length)) : undefined;
    case 'suffix':
      return text.endsWith(match.text) ? relative(text.slice(0, -match.text.length) + to) : undefined;
    case 'substring':
      return match.text !== '' && text.includes(match.text) ? relative(text.replaceAll(match.text, to)) : undefined;
    case 'regex': {
      const groups = match.pattern.match(text);
      return groups === undefined ? undefined : relative(filled(to, groups));
    }
  }
}

/** `{1}` stands for the first group. */
const filled = (text: string, groups: readonly string[]): string =>
  text.replace(/\{(\d{1,2})\}/g, (whole, index: string) => groups[Number(index)] ?? whole);

/** The name that was asked for stands where the changed one would; with a suffix, all names below it are turned back. */
function turnedRound(match: NameMatch, to: string, before: Name, after: Name): Change {
  const change = (name: Name): Name => {
    if (name === after) return before;
    if (match.kind !== 'suffix') return name;
    const suffix = absolute(relative(to));
    const text = absolute(name);
    return text.endsWith(to.startsWith('.') ? suffix : `.${suffix}`)
      ? relative(text.slice(0, -suffix.length) + match.text)
      : name;
  };
  return { name: change, value: change };
}

function byRules(rules: readonly AnswerRule[]): Change {
  const change =
    (field: AnswerRule['field']) =>
    (name: Name): Name => {
      for (const rule of rules) {
        const groups = rule.field === field ? rule.from.match(absolute(name)) : undefined;
        if (groups !== undefined) return relative(filled(rule.to, groups));
      }
      return name;
    };
  return { name: change('name'), value: change('value') };
}

function revert(reply: ChainReply, original: ChainQuestion, changes: readonly Change[]): ChainReply {
  const name = (start: Name): Name => changes.reduce((now, change) => change.name?.(now) ?? now, start);
  const value = (start: Name): Name => changes.reduce((now, change) => change.value?.(now) ?? now, start);
  const ttl = (start: number): number => changes.reduce((now, change) => change.ttl?.(now) ?? now, start);
  const rcode = (start: number): number => changes.reduce((now, change) => change.rcode?.(now) ?? now, start);
  if (reply.kind === 'records') {
    const list = (records: typeof reply.reply.answers) =>
      records.map((record) => ({ ...mapRecordNames(record, name, value), ttl: ttl(record.ttl) }));
    const { answers, authorities, additionals } = reply.reply;
    return {
      ...reply,
      reply: {
        ...reply.reply,
        rcode: rcode(reply.reply.rcode),
        answers: list(answers),
        authorities: list(authorities),
        additionals: list(additionals),
      },
    };
  }
  const { cached } = reply;
  const change = (record: PlainRecord): PlainRecord => ({
    ...record,
    name: name(record.name),
    data: mapDataNames(record, value),
    ttl: ttl(cached.ttl(record.ttl)),
  });
  const answer = withRecords(cached.answer, original, rcode(cached.answer.rcode), change);
  return { ...reply, cached: { ...cached, answer, ttl: (seconds) => seconds } };
}

/** The answer to another question, with each record changed. */
function withRecords(
  answer: UpstreamAnswer,
  asked: ChainQuestion,
  rcode: number,
  change: (record: PlainRecord) => PlainRecord,
): UpstreamAnswer {
  const end = questionEnd(answer.message);
  const list = readPlainRecords(answer.message, end, answer.places.length).map(change);
  const kinds = Buffer.from([asked.type >> 8, asked.type & 0xff, asked.class >> 8, asked.class & 0xff]);
  const head = Buffer.concat([answer.message.subarray(0, 12), encodeAnyName(asked.name), kinds]);
  const message = Buffer.concat([head, ...list.map(writePlainRecord)]);
  return { ...answer, message, rcode, places: readRecords(message, head.length, list.length) };
}
