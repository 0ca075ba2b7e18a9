// Runs a file of tests in a machine of its own: `….inside.ts`, bundled, with the programs that it starts.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { bundle } from './bundle.ts';
import { runInVm, type VmTask } from './vm.ts';

export interface InsideOptions extends Omit<VmTask, 'command'> {
  /** Programs of the repository that the tests start themselves: the variable that tells them the bundle, the source. */
  readonly programs?: Readonly<Record<string, string>>;
}

/** Fails with all that the machine printed where one of the tests inside fails. Paths are relative to the repository. */
export async function passesInside(script: string, { programs = {}, ...task }: InsideOptions): Promise<void> {
  const folder = mkdtempSync('/tmp/weft-inside-');
  try {
    const [main = '', ...others] = await bundle([script, ...Object.values(programs)], folder);
    const variables = Object.keys(programs).map((name, index) => [name, others[index] ?? '']);
    const environment = { ...task.environment, ...Object.fromEntries(variables) };
    const { code, output } = await runInVm({ ...task, command: ['scripts/node', main], environment });
    assert.equal(code, 0, output);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
