// The command line: ./weft COMMAND. Exits 0 on success, 1 on failure with one line, 2 on wrong usage.
import { CommanderError } from 'commander';
import { failureOf } from './output.ts';
import { weftProgram } from './program.ts';

// The reader has seen enough (`weft status | head -1`).
process.stdout.on('error', (error) => {
  process.exit('code' in error && error.code === 'EPIPE' ? 0 : 1);
});

try {
  await weftProgram().parseAsync(process.argv);
} catch (error) {
  if (error instanceof CommanderError) {
    // Help was shown: asked for, or in place of a command that is missing.
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    const { line, exitCode } = failureOf(error);
    process.stderr.write(`weft: ${line}\n`);
    if (process.env.WEFT_DEBUG !== undefined && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    process.exitCode = exitCode;
  }
}
