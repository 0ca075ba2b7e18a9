// Deletes the flows that the filters in its first argument name, in the namespace that it is started in; prints how many.
import { deleteFlows } from '../../src/linux/conntrack.ts';

console.log(await deleteFlows(JSON.parse(process.argv[2] ?? '[]')));
