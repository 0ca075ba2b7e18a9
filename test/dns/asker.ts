// Asks a DNS server over UDP, 10,000 times a second if need be: every second question from a socket of its own, as the
// resolvers of C libraries do, the others from a few that stay. Each question is sent once.
// Arguments: the server's address, how many questions a second, and the names, in turn; default who.default.svc.
// For each line of its input it prints, as JSON, what became of the questions so far: how many had which answer, how many
// were lost – no answer within 2.5 s, when musl's resolver asks again; glibc's does after 5 s –, and how long answers
// took. `%` in a name is another number each time.
import { closeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setImmediate as breathe } from 'node:timers/promises';
import { questionEnd, readHeader, readRecords, writeQuery } from '../../src/dns/wire.ts';
import { DatagramBatch, openDatagramSocket, sendDatagram, socketAddress } from '../../src/linux/datagrams.ts';
import { Readiness } from '../../src/linux/readiness.ts';
import { asIp, familyOf } from '../../src/net/address.ts';

const [server = '', rate = '500', ...given] = process.argv.slice(2);
const names = given.length > 0 ? given : ['who.default.svc.cluster.local'];
const patienceMs = 2500;
/** So many are sent at once when the machine had no time before. */
const mostAtOnce = 100;
const staying = 16;

interface Question {
  readonly at: number;
  readonly id: number;
}

const to = socketAddress(asIp(server), 53);
const anyAddress = asIp(familyOf(asIp(server)) === 'IPv4' ? '0.0.0.0' : '::');
const batch = new DatagramBatch({ count: 64, received: 1500, sent: 16 });
const readiness = new Readiness();
const answers = new Map<string, number>();
/** By socket, then by the id of the message; in the order of time. */
const waiting = new Map<number, Map<number, Question>>();
const order: { readonly fd: number; readonly question: Question }[] = [];
let first = 0;
let [asked, lost, slowest, slow] = [0, 0, 0, 0];
const lostAt: number[] = [];

function open(): number {
  const fd = openDatagramSocket({ address: anyAddress, port: 0 });
  readiness.add(fd);
  waiting.set(fd, new Map());
  return fd;
}

const stayingSockets = Array.from({ length: staying }, open);
const isStaying = new Set(stayingSockets);

function close(fd: number): void {
  if (isStaying.has(fd)) return;
  waiting.delete(fd);
  closeSync(fd);
}

function ask(now: number): void {
  const id = asked & 0xffff;
  const name = names[asked % names.length] ?? '';
  const fd = asked % 2 === 0 ? (stayingSockets[(asked / 2) % staying] ?? 0) : open();
  asked++;
  const question = { at: now, id };
  waiting.get(fd)?.set(id, question);
  order.push({ fd, question });
  sendDatagram(fd, writeQuery(id, name.replace('%', `${asked}`), 1), to);
}

function take(fd: number): void {
  const count = batch.receive(fd);
  const now = performance.now();
  for (let index = 0; index < count; index++) {
    const start = batch.start(index);
    const message = batch.memory.subarray(start, start + batch.length(index));
    const header = readHeader(message);
    const question = header === undefined ? undefined : waiting.get(fd)?.get(header.id);
    if (header === undefined || question === undefined) continue;
    waiting.get(fd)?.delete(header.id);
    const [record] = header.answers === 0 ? [] : readRecords(message, questionEnd(message), 1);
    const answer = record?.data.join('.') ?? `code ${header.flags & 0xf}`;
    answers.set(answer, (answers.get(answer) ?? 0) + 1);
    slowest = Math.max(slowest, now - question.at);
    if (now - question.at > 100) slow++;
    close(fd);
  }
}

function forget(now: number): void {
  for (; first < order.length; first++) {
    const { fd, question } = order[first] ?? { fd: 0, question: { at: now, id: 0 } };
    if (now - question.at < patienceMs) break;
    if (waiting.get(fd)?.get(question.id) !== question) continue;
    waiting.get(fd)?.delete(question.id);
    close(fd);
    lost++;
    if (lostAt.length < 50) lostAt.push(Math.round(question.at));
  }
  if (first < 100_000) return;
  order.splice(0, first);
  first = 0;
}

createInterface({ input: process.stdin })
  .on('line', () =>
    console.log(JSON.stringify({ asked, lost, slow, slowest, lostAt, answers: Object.fromEntries(answers) })),
  )
  .on('close', () => process.exit(0));
console.log('asking');
const begun = performance.now();
for (;;) {
  const now = performance.now();
  const due = Math.min(((now - begun) / 1000) * Number(rate), asked + mostAtOnce);
  while (asked < due) ask(now);
  const count = readiness.wait(1);
  for (let index = 0; index < count; index++) take(readiness.ready(index));
  forget(now);
  await breathe();
}
