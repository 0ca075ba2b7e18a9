// Streams into containers, by the runtime's own streaming server.
import type { Cri } from './cri/client.ts';
import type { RuntimeStreams } from './runtime.ts';

export function runtimeStreams({ call }: Pick<Cri, 'call'>): RuntimeStreams {
  return {
    async exec(containerId, command, { stdin, stdout, stderr, tty }) {
      const request = { containerId, cmd: command, stdin, stdout, stderr: stderr && !tty, tty };
      return (await call('Exec', request)).url;
    },
    async attach(containerId, { stdin, stdout, stderr, tty }) {
      return (await call('Attach', { containerId, stdin, stdout, stderr: stderr && !tty, tty })).url;
    },
    async portForward(podSandboxId, port) {
      return (await call('PortForward', { podSandboxId, port })).url;
    },
    async reopenContainerLog(containerId) {
      await call('ReopenContainerLog', { containerId });
    },
  };
}
