// Entry point of the supervisor: supervisor HOME NAME. Runs in the host's namespaces, one for each cluster.
import { existsSync } from 'node:fs';
import { layoutOf } from '../cluster/layout.ts';
import { takeLock } from '../cluster/lock.ts';
import { readSettings } from '../cluster/stored-settings.ts';
import { startSupervisor } from '../cluster/supervisor.ts';
import { startRouterTable } from '../fabric/router-table.ts';
import { runProcess } from './run.ts';

const [home, name] = process.argv.slice(2);

await runProcess('supervisor', async (log) => {
  if (home === undefined || name === undefined) throw new Error('usage: supervisor HOME NAME');
  process.env.WEFT_HOME = home;
  const lock = await takeLock(`supervisor/${name}`);
  // Another supervisor was faster: that one watches.
  if (lock === undefined) process.exit(0);
  const settings = readSettings(name);
  if (settings === undefined) throw new Error(`there is no cluster '${name}' in ${home}`);
  const layout = layoutOf(settings);
  if (existsSync(layout.stopping)) throw new Error(`the cluster '${name}' is being removed`);
  await startSupervisor(settings, layout, { startRouter: startRouterTable }, log);
  return { layout };
});
