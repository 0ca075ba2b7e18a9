// Leases over 10,000 random calls, with a kill -9 of the process that holds them every few hundred.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import type { LeaseAnswer, LeaseStep } from './lease-process.ts';

const dir = mkdtempSync('/tmp/wt-killed-');
after(() => rmSync(dir, { recursive: true, force: true }));

const calls = 10_000;
/** The range has 125 addresses: it is full now and then. */
const range = '10.0.0.0/25';
const containers = Array.from({ length: 150 }, (_, index) => `c${index}`);

class Holder {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  constructor() {
    const node = join(import.meta.dirname, '../../scripts/node');
    const argv = [join(import.meta.dirname, 'lease-process.ts'), join(dir, 'leases.db'), range];
    this.#child = spawn(node, argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdin?.on('error', () => {});
    const { stdout } = this.#child;
    assert.ok(stdout);
    this.#answers = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  ask(steps: readonly LeaseStep[]): void {
    this.#child.stdin?.write(steps.map((step) => `${JSON.stringify(step)}\n`).join(''));
  }

  /** The next answer: null where the range is full; undefined where the process ended. */
  async answer(): Promise<LeaseAnswer | null | undefined> {
    const next = await this.#answers.next();
    return next.done === true ? undefined : JSON.parse(next.value);
  }

  async kill(): Promise<void> {
    const ended = once(this.#child, 'close');
    this.#child.kill('SIGKILL');
    await ended;
  }
}

const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(Math.random() * list.length)];

function randomStep(): LeaseStep {
  const who = [pick(containers) ?? ''];
  const dice = Math.random();
  if (dice < 0.005) return { do: 'GC', who: containers.filter(() => Math.random() < 0.7) };
  return { do: dice < 0.5 ? 'ADD' : dice < 0.85 ? 'DEL' : 'CHECK', who };
}

type Model = Map<string, readonly string[]>;

/** Compares an answer with the model, and brings the model to what the call did. */
function follow(model: Model, step: LeaseStep, answer: LeaseAnswer | null): void {
  const [who = ''] = step.who;
  const held = model.get(who);
  if (step.do === 'GC') for (const name of [...model.keys()]) if (!step.who.includes(name)) model.delete(name);
  if (step.do === 'DEL') model.delete(who);
  if (step.do === 'CHECK') assert.deepEqual(answer?.[who], held ?? []);
  if (step.do !== 'ADD') return;
  if (answer === null) {
    assert.equal(model.size, 125, 'refused though an address is free');
    return;
  }
  const given = answer[who] ?? [];
  if (held !== undefined) assert.deepEqual(given, held, 'asked again, it is the same address');
  else for (const [other, theirs] of model) assert.notDeepEqual(given, theirs, `${who} got what ${other} holds`);
  model.set(who, given);
}

/** After a kill: what was answered holds; a call without an answer was done wholly or not at all. */
function judge(model: Model, found: LeaseAnswer, unanswered: readonly LeaseStep[]): Model {
  const open = new Set(unanswered.flatMap((step) => (step.do === 'GC' ? containers : step.who)));
  for (const [who, addresses] of model) if (!open.has(who)) assert.deepEqual(found[who], addresses, `${who} is lost`);
  for (const [who, addresses] of Object.entries(found)) {
    assert.equal(addresses.length, 1);
    if (!model.has(who)) assert.ok(open.has(who), `${who} appeared`);
  }
  const all = Object.values(found).flat();
  assert.equal(new Set(all).size, all.length, 'an address is held by two');
  return new Map(Object.entries(found));
}

test('over 10,000 random calls with kills no address is held by two, none is lost, none is left at the end', async () => {
  let holder = new Holder();
  let model: Model = new Map();
  let kills = 0;
  for (let done = 0; done < calls; ) {
    const steps = Array.from({ length: Math.min(500, calls - done) }, randomStep);
    const until = Math.floor(Math.random() * steps.length);
    holder.ask(steps);
    let answered = 0;
    for (; answered < until; answered++) {
      const answer = await holder.answer();
      const step = steps[answered];
      assert.ok(answer !== undefined && step !== undefined);
      follow(model, step, answer);
    }
    await holder.kill();
    kills++;
    holder = new Holder();
    holder.ask([{ do: 'LIST', who: [] }]);
    const found = await holder.answer();
    assert.ok(found);
    // What was done after the last answer that was read is open, as are its answers.
    model = judge(model, found, steps.slice(until));
    done += steps.length;
  }
  assert.ok(kills >= calls / 500);
  holder.ask([
    { do: 'GC', who: [] },
    { do: 'LIST', who: [] },
  ]);
  await holder.answer();
  assert.deepEqual(await holder.answer(), {});
  await holder.kill();
});
