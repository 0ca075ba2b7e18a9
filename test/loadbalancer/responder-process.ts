// The responder of a node as a process of its own in the test's namespace: `responder-process.ts NODE-ADDRESSES`. Reads
// the addresses to answer for from its standard input, a line for each set (`ADDRESS[@LINK] …`), and says `set` for each.
import { createInterface } from 'node:readline';
import { Responder } from '../../src/loadbalancer/responder.ts';
import { createLog } from '../../src/log/log.ts';
import { asIp } from '../../src/net/address.ts';

const responder = new Responder({
  nodeAddresses: (process.argv[2] ?? '').split(',').map(asIp),
  log: createLog('responder'),
});
const input = createInterface({ input: process.stdin });
input.on('line', (line) => {
  const wanted = line.split(' ').flatMap((word) => {
    const [address = '', link] = word.split('@');
    return address === '' ? [] : [{ address: asIp(address), interfaces: link === undefined ? undefined : [link] }];
  });
  responder.set(wanted);
  console.log('set');
});
input.on('close', () => responder.stop());
