// Connects to an address again and again: `prober.ts ADDRESS PORT`. Says `ok` when it got through for the first time; at
// the end of its standard input, the longest time without a success, in ms.
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const [host = '', port = ''] = process.argv.slice(2);
let last: number | undefined;
let worst = 0;
let isOver = false;
process.stdin.resume().on('end', () => {
  isOver = true;
});

const attempt = (): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host, port: Number(port), timeout: 150 });
    const end = (ok: boolean) => (): void => {
      socket.destroy();
      resolve(ok);
    };
    socket.on('connect', end(true)).on('timeout', end(false)).on('error', end(false));
  });

while (!isOver) {
  const ok = await attempt();
  const now = performance.now();
  if (ok) {
    if (last === undefined) console.log('ok');
    else worst = Math.max(worst, now - last);
    last = now;
  }
  await delay(20);
}
console.log(String(Math.round(Math.max(worst, performance.now() - (last ?? 0)))));
