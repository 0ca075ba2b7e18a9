// Read first by every Node.js of a test machine: JavaScript is interpreted there. What V8 compiles must be translated once
// more by the emulated processor, and programs that run for seconds never earn that back (a cluster's start: a quarter).
const { setFlagsFromString } = require('node:v8');
for (const flag of ['--no-opt', '--no-maglev', '--no-sparkplug']) setFlagsFromString(flag);
