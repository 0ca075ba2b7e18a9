// A DNS server at the address in its argument, over UDP and TCP, that gives every name a TXT record and an alias by which
// it is known: its own address. For tests; prints `listening`.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { decode, encode } from 'dns-packet';

const [own = ''] = process.argv.slice(2);

function answer(message: Buffer): Buffer {
  const { id = 0, questions = [] } = decode(message);
  const answers = questions.map(({ name }) => ({ name, type: 'TXT' as const, ttl: 60, data: own }));
  return encode({ type: 'response', id, flags: 0x0180, questions, answers });
}

const udp = createSocket(own.includes(':') ? 'udp6' : 'udp4');
udp.on('message', (message, from) => udp.send(answer(message), from.port, from.address));
const tcp = createServer((socket) => {
  socket.on('error', () => {});
  socket.once('data', (data: Buffer) => {
    const reply = answer(data.subarray(2));
    const length = Buffer.alloc(2);
    length.writeUInt16BE(reply.length);
    socket.end(Buffer.concat([length, reply]));
  });
});
udp.bind(53, own, () => tcp.listen(53, own, () => console.log('listening')));
