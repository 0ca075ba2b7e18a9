// weft image: the images that nodes can pull without any registry.
import { existsSync } from 'node:fs';
import { Command, Option } from 'commander';
import { importArchive } from '../images/archive.ts';
import { recipes } from '../images/recipes.ts';
import { ImageStore } from '../images/store.ts';
import { existingCluster, nameOption } from './options.ts';
import { print, printJson, printTable } from './output.ts';

export function imageCommand(): Command {
  const image = new Command('image').description('images that need no registry');
  image
    .command('import')
    .description('take the images of a docker or OCI archive; the nodes of every cluster can pull them then')
    .argument('<file>', "a tar file, as of 'docker save'")
    .addOption(nameOption())
    .action(async (file: string, { name }: { name: string }, command: Command) => {
      if (command.getOptionValueSource('name') === 'cli') existingCluster(name);
      if (!existsSync(file)) throw new Error(`there is no file ${file}`);
      const images = await importArchive(file, new ImageStore());
      for (const one of images) print(`${one.name} (${formatSize(one.size)})`);
    });
  image
    .command('list')
    .description('the images that are there, and those that Weft makes on first use')
    .addOption(new Option('-o, --output <format>', 'machine-readable').choices(['json']))
    .action(async ({ output }: { output?: 'json' }) => {
      const present = await new ImageStore().list();
      const names = new Set(present.map(({ name }) => name));
      const possible = recipes.filter(({ name }) => !names.has(name));
      if (output === 'json') {
        printJson({ present, makeable: possible.map(({ name, summary }) => ({ name, summary })) });
        return;
      }
      printTable([
        ['IMAGE', 'SIZE', 'MADE'],
        ...present.map(({ name, size, created }) => [name, formatSize(size), created]),
        ...possible.map(({ name, summary }) => [name, '-', `on first use: ${summary}`]),
      ]);
    });
  return image;
}

function formatSize(bytes: number): string {
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
