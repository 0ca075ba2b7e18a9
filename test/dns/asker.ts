// Asks a DNS server over UDP again and again, each question once, from one socket that stays and from many new ones.
// Arguments: the server's address and how many questions a second. For each line of its input it prints, as JSON, what
// became of the questions so far: how many had which answer, and how many had none for two seconds.
import { createSocket, type Socket } from 'node:dgram';
import { createInterface } from 'node:readline';
import { questionEnd, readHeader, readRecords, writeQuery } from '../../src/dns/wire.ts';

const [server = '', rate = '500'] = process.argv.slice(2);
const patienceMs = 2000;
const answers = new Map<string, number>();
const waiting = new Map<number, { readonly at: number; readonly socket?: Socket }>();
let lost = 0;
let id = 0;

const open = (): Socket => {
  const socket = createSocket('udp4');
  socket.on('message', take);
  socket.on('error', () => {});
  return socket;
};
const take = (message: Buffer): void => {
  const header = readHeader(message);
  const question = header === undefined ? undefined : waiting.get(header.id);
  if (header === undefined || question === undefined) return;
  waiting.delete(header.id);
  question.socket?.close();
  const [record] = header.answers === 0 ? [] : readRecords(message, questionEnd(message), 1);
  const answer = record?.data.join('.') ?? `code ${header.flags & 0xf}`;
  answers.set(answer, (answers.get(answer) ?? 0) + 1);
};
const staying = open();
const ask = (): void => {
  id = (id + 1) & 0xffff;
  const socket = id % 2 === 0 ? staying : open();
  waiting.set(id, socket === staying ? { at: performance.now() } : { at: performance.now(), socket });
  socket.send(writeQuery(id, 'who.default.svc.cluster.local', 1), 53, server, () => {});
};
const forget = (): void => {
  for (const [key, { at, socket }] of waiting) {
    if (performance.now() - at < patienceMs) return;
    waiting.delete(key);
    socket?.close();
    lost++;
  }
};
const begun = performance.now();
let asked = 0;
setInterval(() => {
  const due = ((performance.now() - begun) / 1000) * Number(rate);
  for (; asked < due; asked++) ask();
  forget();
}, 2);
createInterface({ input: process.stdin })
  .on('line', () => console.log(JSON.stringify({ lost, answers: Object.fromEntries(answers) })))
  .on('close', () => process.exit(0));
console.log('asking');
