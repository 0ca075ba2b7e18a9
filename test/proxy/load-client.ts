// Asks an address for a page so many times a second, each time by a new connection, until standard input ends; then it
// prints what came of it as JSON. Arguments: HOST PORT RATE.
import { Agent, get } from 'node:http';

/** A client that waits longer than this has not been served, in ms. */
const patienceMs = 10_000;
/** After a time without the processor what was missed is asked for in portions of so many, not all at once. */
const mostUnder = 100;

const [host = '', port = '', rate = '1000'] = process.argv.slice(2);
const agent = new Agent({ keepAlive: false, maxSockets: Number.POSITIVE_INFINITY });
const answers: Record<string, number> = {};
const failures: string[] = [];
let sent = 0;
let under = 0;

function ask(): void {
  sent++;
  under++;
  const began = Date.now();
  let isOver = false;
  const over = (failure?: string): void => {
    if (isOver) return;
    isOver = true;
    under--;
    if (failure !== undefined)
      failures.push(`${failure} after ${Date.now() - began} ms, asked ${new Date(began).toISOString()}`);
  };
  const request = get({ host, port, agent, timeout: patienceMs }, (response) => {
    let text = '';
    response.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    response.on('end', () => {
      const who = text.trim();
      answers[who] = (answers[who] ?? 0) + 1;
      over();
    });
    response.on('error', (error) => over(error.message));
  });
  request.on('timeout', () => {
    over('no answer');
    request.destroy();
  });
  request.on('error', (error) => over(error.message));
}

const begin = performance.now();
const timer = setInterval(() => {
  const due = Math.floor(((performance.now() - begin) * Number(rate)) / 1000);
  while (sent < due && under < mostUnder) ask();
}, 5);
process.stdin.on('end', async () => {
  clearInterval(timer);
  const seconds = (performance.now() - begin) / 1000;
  for (const end = Date.now() + patienceMs + 1000; under > 0 && Date.now() < end; )
    await new Promise((resolve) => setTimeout(resolve, 20));
  const unanswered = Array.from({ length: under }, () => 'never answered');
  process.stdout.write(`${JSON.stringify({ sent, seconds, answers, failures: [...failures, ...unanswered] })}\n`, () =>
    process.exit(0),
  );
});
process.stdin.resume();
console.log('asking');
