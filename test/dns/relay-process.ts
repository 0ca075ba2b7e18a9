// One side of the relay to DNS servers outside of a cluster, in the namespace that it is started in, for tests.
// Arguments: `node` or `host`, the socket between them, the addresses and ports (`10.0.0.53 53,…`), and for the host the
// servers of its resolv.conf. Prints `listening`.
import { listening } from '../../src/cluster/byte-relay.ts';
import { createUpstreamServer, listenForUpstreams } from '../../src/cluster/dns-relay.ts';
import { createLog } from '../../src/log/log.ts';
import { asIp } from '../../src/net/address.ts';

const [side, path = '', places = '', servers = ''] = process.argv.slice(2);
const relayed = places.split(',').map((place) => {
  const [address = '', port] = place.split(' ');
  return { address: asIp(address), port: Number(port) };
});
if (side === 'node') await listenForUpstreams(relayed, path, createLog('test'));
else
  await listening(
    createUpstreamServer(relayed, () => servers.split(',').map(asIp)),
    { path },
  );
console.log('listening');
