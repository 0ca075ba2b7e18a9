// Adds a router to the settings of BGP, or takes one out, and leaves the rest of the user's text as it is. Pure.
import { Document, isMap, isScalar, isSeq, parseDocument } from 'yaml';
import { type BgpPeer, BgpSettingsError, readBgpSettings } from './settings.ts';

/** The text with that peer added, or put in the place of the one of its name. Throws a BgpSettingsError. */
export function withPeer(text: string, peer: Pick<BgpPeer, 'name'> & Readonly<Record<string, unknown>>): string {
  const document = read(text);
  const index = indexOf(document, peer.name);
  if (index !== undefined) document.setIn(['peers', index], document.createNode(peer));
  else if (isSeq(document.get('peers'))) document.addIn(['peers'], document.createNode(peer));
  else document.set('peers', document.createNode([peer]));
  return checked(document);
}

/** The text without that peer; undefined where there is none of that name. Throws a BgpSettingsError. */
export function withoutPeer(text: string, name: string): string | undefined {
  const document = read(text);
  const index = indexOf(document, name);
  if (index === undefined) return undefined;
  document.deleteIn(['peers', index]);
  return checked(document);
}

function read(text: string): Document {
  const document = parseDocument(text);
  const [error] = document.errors;
  if (error !== undefined) throw new BgpSettingsError(error.message);
  if (document.contents === null) return new Document({});
  if (!isMap(document.contents)) throw new BgpSettingsError('the settings are no fields such as asNumber: 64512');
  return document;
}

function indexOf(document: Document, name: string): number | undefined {
  const peers = document.get('peers');
  if (!isSeq(peers)) return undefined;
  const index = peers.items.findIndex((item) => {
    const own = isMap(item) ? item.get('name', true) : undefined;
    return isScalar(own) && own.value === name;
  });
  return index < 0 ? undefined : index;
}

function checked(document: Document): string {
  readBgpSettings(document.toJS());
  return document.toString();
}
