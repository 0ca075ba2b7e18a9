// Weft's DNS server at an API server and a port of 127.0.0.1, both given as arguments; for the benchmark.
import { startDns } from '../../src/dns/start.ts';
import { connect } from '../../src/k8s/connect.ts';
import { createLog } from '../../src/log/log.ts';

const [server = '', port = '0'] = process.argv.slice(2);
const dns = await startDns({
  client: connect({ server, onProblem: () => {} }),
  zone: 'cluster.local',
  addresses: ['127.0.0.1'],
  port: Number(port),
  upstreams: [],
  metricsPort: 0,
  healthPort: 0,
  readyPort: 0,
  queryPort: 0,
  log: createLog('dns'),
});
const waiting = setInterval(() => {
  if (!dns.isReady()) return;
  clearInterval(waiting);
  console.log('ready');
}, 10);
