// The command line as a whole: all commands, and what they do with a wrong use of them.
import { Command, type CommanderError } from 'commander';
import { bgpCommand } from './bgp.ts';
import { demoCommand } from './demo.ts';
import { dnsCommand } from './dns.ts';
import { downCommand } from './down.ts';
import { fabricCommand } from './fabric.ts';
import { imageCommand } from './image.ts';
import { kubeconfigCommand } from './kubeconfig.ts';
import { nodeCommand } from './node.ts';
import { UsageError } from './output.ts';
import { proxyCommand } from './proxy.ts';
import { serviceCommand } from './service.ts';
import { statusCommand } from './status.ts';
import { underlayCommand } from './underlay.ts';
import { upCommand } from './up.ts';

/**
 * The program `weft`. Parsing throws a UsageError for a wrong use, and a CommanderError where help was shown: of the exit
 * code 0 where it was asked for.
 */
export function weftProgram(): Command {
  const program = new Command('weft')
    .description('Kubernetes networking on one machine: a cluster whose nodes are network namespaces.')
    .enablePositionalOptions();
  for (const command of [
    demoCommand(),
    upCommand(),
    downCommand(),
    statusCommand(),
    kubeconfigCommand(),
    nodeCommand(),
    fabricCommand(),
    proxyCommand(),
    underlayCommand(),
    bgpCommand(),
    dnsCommand(),
    serviceCommand(),
    imageCommand(),
  ])
    program.addCommand(command);
  refuseInOneLine(program, './weft');
  return program;
}

/** A wrong use is an error that says what is wrong and where help is; nothing is printed on the way. */
function refuseInOneLine(command: Command, path: string): void {
  command.configureOutput({ outputError: () => {} });
  command.exitOverride((error: CommanderError) => {
    if (error.code.startsWith('commander.help')) throw error;
    const text = error.message.replace(/^error: /, '').replaceAll('\n', ' ');
    throw new UsageError(`${text.replace(/\.$/, '')}; see ${path} --help`);
  });
  for (const child of command.commands) refuseInOneLine(child, `${path} ${child.name()}`);
}
