// The command line: ./weft COMMAND. Exits 0 on success, 1 on failure with one line, 2 on wrong usage.
import { Command, CommanderError } from 'commander';
import { SettingsError } from '../cluster/settings-error.ts';
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

const program = new Command('weft')
  .description('Kubernetes networking on one machine: a cluster whose nodes are network namespaces.')
  .showHelpAfterError("(see './weft --help')")
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

function overrideExit(command: Command): void {
  command.exitOverride();
  for (const child of command.commands) overrideExit(child);
}
overrideExit(program);

// The reader has seen enough (`weft status | head -1`).
process.stdout.on('error', (error) => {
  process.exit('code' in error && error.code === 'EPIPE' ? 0 : 1);
});

try {
  await program.parseAsync(process.argv);
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    const message = error instanceof Error ? error.message : String(error);
    process.stderr.write(`weft: ${message}\n`);
    if (process.env.WEFT_DEBUG !== undefined && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    process.exitCode = error instanceof UsageError || error instanceof SettingsError ? 2 : 1;
  }
}
