// The server asks its own /health from time to time, as CoreDNS's plugin health does: the time that it takes tells whether
// the process has too much to do.
import { get } from 'node:http';

/** CoreDNS asks each second; what this shows lasts longer, and an idle server is to be idle. */
const everyMs = 5000;
const patienceMs = 5000;

export interface HealthCheck {
  /** Where /health is, or undefined while nobody wants to know. */
  target(): { readonly host: string; readonly port: number } | undefined;
  answered(seconds: number): void;
  failed(): void;
}

/** Asks again and again until the function that it returns is called. */
export function checkHealth({ target, answered, failed }: HealthCheck): { close(): Promise<void> } {
  const look = (): void => {
    const at = target();
    if (at === undefined) return;
    const begun = performance.now();
    const request = get({ ...at, path: '/health', agent: false, timeout: patienceMs }, (response) => {
      response.resume();
      response.on('end', () => answered((performance.now() - begun) / 1000));
    });
    request.on('timeout', () => request.destroy(new Error('no answer')));
    request.on('error', failed);
  };
  const timer = setInterval(look, everyMs);
  timer.unref();
  return {
    async close() {
      clearInterval(timer);
    },
  };
}
