// HTTP to a server inside of a node's network, by way of its dial socket.
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { dialLine } from './dial.ts';
import type { NodeLayout } from './layout.ts';

/** Where in a node: an address with its port there, and the path. */
export interface NodeUrl {
  readonly host: string;
  readonly port: number;
  readonly path: string;
}

/** Begins a GET. Rejects with an Error when nothing answers there; the caller reads the answer or destroys it. */
export function getInNode(node: Pick<NodeLayout, 'dialSocket'>, url: NodeUrl): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asked: ClientRequest = request(
      {
        path: url.path,
        host: url.host,
        createConnection() {
          const socket = connect(node.dialSocket);
          socket.write(dialLine(url.host, url.port));
          return socket;
        },
      },
      resolve,
    );
    asked.on('error', reject);
    asked.end();
  });
}

/** The whole answer to a GET as text; rejects where it is no success. */
export async function readInNode(node: Pick<NodeLayout, 'dialSocket'>, url: NodeUrl): Promise<string> {
  const response = await getInNode(node, url);
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += String(chunk);
  if (response.statusCode !== 200) throw new Error(`${url.path} answers with ${response.statusCode}`);
  return text;
}
