// Writes the files of a volume so that a reader sees all of the old ones or all of the new ones: a fresh folder, and one
// rename of the symbolic link `..data`. Layout: kubernetes pkg/volume/util/atomic_writer.go.
import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Payload } from './payload.ts';

export interface Owner {
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
}

const dataLink = '..data';

/** Makes the folder show exactly these files. The owner is that of files and folders, where it is given. */
export async function writeAtomically(folder: string, payload: Payload, owner: Owner = {}): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const old = await readlink(join(folder, dataLink)).catch(() => undefined);
  const fresh = await mkdtemp(join(folder, '..data_'));
  await chmod(fresh, 0o755);
  for (const [path, { data, mode }] of payload) {
    const file = join(fresh, path);
    await mkdir(dirname(file), { recursive: true, mode: 0o755 });
    await writeFile(file, data, { mode });
    const grouped = owner.gid === undefined ? mode : mode | ((mode & 0o400) >> 3);
    await chmod(file, grouped);
    if (owner.uid !== undefined || owner.gid !== undefined) await chown(file, owner.uid ?? 0, owner.gid ?? 0);
  }
  const next = join(folder, '..data_tmp');
  await rm(next, { force: true });
  await symlink(fresh.slice(folder.length + 1), next);
  await rename(next, join(folder, dataLink));
  await showEntries(folder, new Set([...payload.keys()].map((path) => path.split('/')[0] ?? path)));
  if (old !== undefined) await rm(join(folder, old), { recursive: true, force: true });
}

/** For each entry of the data a symbolic link in the folder, and no others. */
async function showEntries(folder: string, entries: ReadonlySet<string>): Promise<void> {
  for (const present of await readdir(folder))
    if (!present.startsWith('..') && !entries.has(present))
      await rm(join(folder, present), { recursive: true, force: true });
  for (const entry of entries) {
    const link = join(folder, entry);
    if ((await lstat(link).catch(() => undefined)) === undefined) await symlink(join(dataLink, entry), link);
  }
}
