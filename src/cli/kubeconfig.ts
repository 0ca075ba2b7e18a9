// weft kubeconfig: prints the path of a cluster's own kubeconfig.
import { Command } from 'commander';
import { existingCluster, nameOption } from './options.ts';
import { print } from './output.ts';

export function kubeconfigCommand(): Command {
  return new Command('kubeconfig')
    .description("print the path of the cluster's kubeconfig")
    .addOption(nameOption())
    .action(({ name }: { name: string }) => print(existingCluster(name).layout.kubeconfig));
}
