// Families of generic netlink are found by their names in the kernel that the tests run on.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GenericNetlink } from './generic-netlink.ts';
import { readText, text } from './netlink.ts';

const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR_FAMILY_NAME = 2;

test('a family is found by its name and answers', () => {
  const control = GenericNetlink.open('nlctrl', 2);
  assert.ok(control);
  using _closed = control;
  const ask = { command: CTRL_CMD_GETFAMILY, what: 'asking for a family' };
  const [answer] = control.query({ ...ask, attributes: [text(CTRL_ATTR_FAMILY_NAME, 'nlctrl')] });
  assert.equal(readText(answer?.get(CTRL_ATTR_FAMILY_NAME)), 'nlctrl');
  const names = control.dump({ ...ask, attributes: [] }).map((family) => readText(family.get(CTRL_ATTR_FAMILY_NAME)));
  assert.ok(names.includes('nlctrl'));
});

test('a family that the kernel does not have is undefined', () => {
  assert.equal(GenericNetlink.open('weft-none', 1), undefined);
});
