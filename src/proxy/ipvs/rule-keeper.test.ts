// How often the rules of the IPVS mode are read and written: each time is a process.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Iptables } from '../../linux/iptables-run.ts';
import { readSave } from '../../linux/iptables-save.ts';
import { RuleKeeper } from './rule-keeper.ts';

/** A kernel that says of rules written by `restore` always the same, in its own words. */
class FakeIptables implements Iptables {
  readonly backend = 'nft';
  readonly calls: string[] = [];
  #isThere = false;
  words = '-j ACCEPT';

  async restore(): Promise<void> {
    this.calls.push('restore');
    this.#isThere = true;
  }

  async save(): Promise<ReturnType<typeof readSave>> {
    this.calls.push('save');
    const rules = this.#isThere ? [`-A KUBE-SERVICES ${this.words}`] : [];
    return readSave(['*nat', ':KUBE-SERVICES - [0:0]', ...rules, 'COMMIT', ''].join('\n'));
  }

  async list(): Promise<undefined> {}

  flush(): void {
    this.#isThere = false;
  }

  takeCalls(): string {
    return this.calls.splice(0).join(' ');
  }
}

const facts = { clusterCidrs: [], serviceCidrs: [], podCidrs: [] };

async function written(): Promise<{ kernel: FakeIptables; keeper: RuleKeeper }> {
  const kernel = new FakeIptables();
  const keeper = new RuleKeeper('IPv4', kernel);
  keeper.set(facts);
  await keeper.apply();
  assert.equal(kernel.takeCalls(), 'save restore save');
  return { kernel, keeper };
}

/** As the writer does after a disturbance. */
async function repair(keeper: RuleKeeper): Promise<boolean> {
  const isWhole = await keeper.isWhole();
  await keeper.apply();
  keeper.forget();
  return isWhole;
}

test('rules that are whole are read once; damaged ones are read once and written once', async () => {
  const { kernel, keeper } = await written();
  assert.equal(await repair(keeper), true);
  assert.equal(kernel.takeCalls(), 'save');
  kernel.flush();
  assert.equal(await repair(keeper), false);
  assert.equal(kernel.takeCalls(), 'save restore');
  assert.equal(await repair(keeper), true);
});

test('a kernel that says it otherwise from some day on is believed after the second repair', async () => {
  const { kernel, keeper } = await written();
  kernel.words = '-j RETURN';
  assert.deepEqual([await repair(keeper), await repair(keeper), await repair(keeper)], [false, false, true]);
});
