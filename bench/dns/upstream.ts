// A DNS server for the benchmark of losses, at an address and a port: it gives every name 192.0.2.1 for 5 s.
import { DatagramBatch, openDatagramSocket } from '../../src/linux/datagrams.ts';
import { Readiness } from '../../src/linux/readiness.ts';
import { asIp } from '../../src/net/address.ts';

const [address = '', port = '53'] = process.argv.slice(2);
const fd = openDatagramSocket({ address: asIp(address), port: Number(port), bufferSize: 4 << 20 });
const batch = new DatagramBatch({ count: 64, received: 1232, sent: 1232 });
const readiness = new Readiness();
readiness.add(fd);
/** A record for the name in the question: type A, class IN, 5 s. */
const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 192, 0, 2, 1]);
console.log('listening');
for (;;) {
  readiness.wait(1000);
  const count = batch.receive(fd);
  for (let index = 0; index < count; index++) {
    const start = batch.start(index);
    let end = start + 12;
    while ((batch.memory[end] ?? 0) !== 0) end += (batch.memory[end] ?? 0) + 1;
    end += 5;
    if (end > start + batch.length(index)) continue;
    const at = batch.answerAt(index);
    batch.memory.copy(batch.memory, at, start, end);
    batch.memory.writeUInt16BE(0x8180, at + 2);
    batch.memory.writeUInt16BE(1, at + 6);
    batch.memory.writeUInt16BE(0, at + 10);
    record.copy(batch.memory, at + end - start);
    batch.answered(index, end - start + record.length);
  }
  batch.send(fd);
}
