// A DNS server at the address in its argument that gives every name 192.0.2.1, but those that begin with `nobody`, for
// tests: it prints each name that it is asked, with the type.
import { createSocket } from 'node:dgram';
import { decode, encode } from 'dns-packet';

const socket = createSocket('udp4');
socket.on('message', (message, from) => {
  const query = decode(message);
  const [question] = query.questions ?? [];
  if (question === undefined) return;
  if (question.type !== 'NS') console.log(`${question.type} ${question.name}`);
  const known = question.type === 'A' && !question.name.startsWith('nobody');
  const flags = 0x0180 | (question.name.startsWith('nobody') ? 3 : 0);
  const answers = known ? [{ name: question.name, type: 'A' as const, ttl: 60, data: '192.0.2.1' }] : [];
  socket.send(
    encode({ type: 'response', id: query.id ?? 0, flags, questions: [question], answers }),
    from.port,
    from.address,
  );
});
socket.bind(53, process.argv[2], () => console.log('listening'));
